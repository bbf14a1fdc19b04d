"""A worker without a model: it serves hypura.v1's WorkerService, and misbehaves as its first argument selects.

well            answers everything
error-start     writes {"error": …} instead of an address
mute-start      never writes an address
babble-start    writes no JSON
die-start       exits with code 3 after some words
die-load        dies by SIGKILL in the middle of Load
fail-load       answers Load with ModelFileChanged
mute-load       never goes on with Load
die-answer      dies by SIGSEGV after two tokens
mute-answer     never goes on after one token
deaf            ignores TERM
elastic         can do with 2 bytes of memory, and use 30
stubborn        says so, and refuses
noisy           fills standard output and standard error before it loads
"""

import asyncio
import json
import os
import signal
import struct
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hypura.v1 import inference_pb2, worker_pb2, worker_pb2_grpc
from hypura_worker.engine.events import MAX_JOINED_EVENTS, Chunk, Event, next_events

WIDE = 16_384
"""Numbers in the vector of the text "wide"."""


def end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def read_exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(0, count - len(data))
    return data


async def flood(tokens: int) -> AsyncIterator[Any]:
    """Tokens made faster than they are read, joined as the worker joins them."""
    events: asyncio.Queue[Event] = asyncio.Queue(MAX_JOINED_EVENTS)

    async def make() -> None:
        for number in range(tokens):
            await events.put(Chunk(" token", (number,), ()))

    making = asyncio.ensure_future(make())
    told = 0
    while told < tokens:
        for event in await next_events(events):
            assert isinstance(event, Chunk)
            told += len(event.tokens)
            chunk = inference_pb2.TokenChunk(text=event.text, token_ids=event.tokens)
            yield worker_pb2.WorkerGenerateResponse(chunk=chunk)
    await making
    statistics = inference_pb2.RequestStatistics(output_tokens=tokens)
    yield worker_pb2.WorkerGenerateResponse(finished=inference_pb2.Finished(statistics=statistics))


class Worker(worker_pb2_grpc.WorkerServiceServicer):
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.active = 0

    async def Load(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        if self.mode == "noisy":
            os.write(1, b"o" * 300_000 + b"\n")
            os.write(2, b"e" * 300_000 + b"\n")
        yield worker_pb2.WorkerLoadResponse(progress=0.5)
        if self.mode == "die-load":
            print("out of luck while loading", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "mute-load":
            await asyncio.Event().wait()
        if self.mode == "fail-load":
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the file changed; load it again",
                (("hypura-error", "ModelFileChanged"),),
            )
        loaded = worker_pb2.LoadedModel(
            load_seconds=0.1,
            bos_text="<s>",
            eos_text="</s>",
            adds_bos=True,
            can_generate=True,
            context_tokens=request.plan.context_tokens,
            embedding_length=WIDE,
        )
        if self.mode in ("elastic", "stubborn"):
            loaded.min_memory_limit_bytes, loaded.max_memory_limit_bytes = 2, 30
        yield worker_pb2.WorkerLoadResponse(loaded=loaded)

    async def Resize(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.mode == "stubborn":
            await context.abort(grpc.StatusCode.INTERNAL, "no")
        return worker_pb2.WorkerResizeResponse(memory_limit_bytes=request.memory_limit_bytes)

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Repeats the prompt's words; "forever" never ends, "flood" is as many tokens as asked, at once."""
        self.active += 1
        try:
            if request.prompt == "silent":
                await asyncio.Event().wait()
            if request.prompt == "too long":
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "9 tokens", (("hypura-error", "PromptTooLong"),))
            yield worker_pb2.WorkerGenerateResponse(
                prefill=inference_pb2.PrefillProgress(processed_tokens=1, prompt_tokens=1)
            )
            if self.mode == "mute-answer":
                await asyncio.Event().wait()
            if request.prompt == "flood":
                async for answer in flood(request.limits.max_tokens):
                    yield answer
                return
            words = request.prompt.split()
            number = 0
            while number < len(words) or request.prompt == "forever":
                if self.mode == "die-answer" and number == 2:
                    print("bad access", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGSEGV)
                yield worker_pb2.WorkerGenerateResponse(
                    chunk=inference_pb2.TokenChunk(text=words[number % len(words)], token_ids=[number])
                )
                number += 1
                if request.prompt == "forever":
                    await asyncio.sleep(0.001)
            yield worker_pb2.WorkerGenerateResponse(
                finished=inference_pb2.Finished(
                    reason=inference_pb2.FINISH_REASON_STOP,
                    statistics=inference_pb2.RequestStatistics(output_tokens=number),
                )
            )
        finally:
            self.active -= 1

    async def Embed(self, request: Any, context: Any) -> Any:  # noqa: N802
        vectors = [
            inference_pb2.Embedding(values=[float(len(text))] * (WIDE if text == "wide" else 1))
            for text in request.texts
        ]
        for vector in vectors:
            yield worker_pb2.WorkerEmbedResponse(embeddings=[vector], prompt_tokens=1)

    async def Tokenize(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.WorkerTokenizeResponse(token_ids=request.text.encode())

    async def Statistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        return worker_pb2.WorkerStatisticsResponse(active_requests=self.active, rss_bytes=1)


async def serve(socket_path: str, mode: str) -> None:
    server = grpc.aio.server()
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(Worker(mode), server)
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    end = asyncio.Event()
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    print(json.dumps({"address": f"unix:{socket_path}"}), flush=True)
    await end.wait()
    await server.stop(0.2)


def main() -> int:
    mode = sys.argv[1]
    (length,) = struct.unpack("<I", read_exactly(4))
    bootstrap = worker_pb2.WorkerBootstrap.FromString(read_exactly(length))
    threading.Thread(target=end_with_parent, daemon=True).start()
    if mode == "die-start":
        print("no such luck", file=sys.stderr, flush=True)
        return 3
    if mode == "error-start":
        print(json.dumps({"error": "the hook does not fit"}), flush=True)
        return 1
    if mode == "babble-start":
        print("hello there", flush=True)
    if mode in ("babble-start", "mute-start"):
        threading.Event().wait()
    asyncio.run(serve(bootstrap.socket_path, mode))
    return 0


if __name__ == "__main__":
    sys.exit(main())
