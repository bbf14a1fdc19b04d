"""Events of the core, in short, for tests of what the dialects make of them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from hypura.v1 import inference_pb2 as pb


def prefill(processed: int, prompt: int) -> pb.ChatResponse:
    return pb.ChatResponse(prefill=pb.PrefillProgress(processed_tokens=processed, prompt_tokens=prompt))


def says(text: str, *, logprob: float | None = None) -> pb.ChatResponse:
    logprobs = []
    if logprob is not None:
        token = pb.TokenLogprob(token_id=1, token=text.encode(), logprob=logprob)
        logprobs = [pb.TokenLogprobs(chosen=token, top=[token])]
    return pb.ChatResponse(chunk=pb.TokenChunk(text=text, token_ids=[1], logprobs=logprobs))


def thinks(text: str) -> pb.ChatResponse:
    return pb.ChatResponse(chunk=pb.TokenChunk(thinking=text, token_ids=[2, 3]))


def calls(number: int, name: str, arguments: dict[str, Any]) -> pb.ChatResponse:
    return pb.ChatResponse(tool_call=pb.ToolCall(id=f"call_{number}", name=name, arguments_json=json.dumps(arguments)))


def ends(prompt: int = 5, output: int = 3, *, stop: str = "", length: bool = False, cached: int = 0) -> pb.ChatResponse:
    return pb.ChatResponse(
        finished=pb.Finished(
            reason=pb.FINISH_REASON_LENGTH if length else pb.FINISH_REASON_STOP,
            statistics=pb.RequestStatistics(prompt_tokens=prompt, output_tokens=output, cached_tokens=cached),
            stop_string=stop,
        )
    )


def generated(event: pb.ChatResponse) -> pb.GenerateResponse:
    """The same event from Generate."""
    return pb.GenerateResponse(
        prefill=event.prefill if event.HasField("prefill") else None,
        chunk=event.chunk if event.HasField("chunk") else None,
        finished=event.finished if event.HasField("finished") else None,
    )


def source(events: Iterable[Any]) -> Callable[[], AsyncGenerator[Any, None]]:
    """Makes a generator of the events; an exception among them is raised."""

    async def make() -> AsyncGenerator[Any, None]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    return make


def data_of(stream: bytes) -> list[Any]:
    """The JSON of every `data:` line but [DONE]; every block of a stream must end with an empty line."""
    assert stream.endswith(b"\n\n")
    lines = [line for line in stream.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]
