"""POST /v1/chat/completions, what goes out: an answer whole, or in chunks as it comes."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.frame import FINGERPRINT, Frame, progress
from hypura_daemon.gateway.openai.identity import Identity
from hypura_daemon.gateway.openai.sampling import finite
from hypura_daemon.gateway.openai.usage import Usage, usage_of
from hypura_daemon.gateway.shapes import WHEN_SAID, Told

Finish = Literal["stop", "length", "tool_calls"]


class Alternative(Told):
    """A token that might have been chosen."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Alternative):
    """The chosen token, and the likeliest ones."""

    top_logprobs: list[Alternative]


class Logprobs(Told):
    """One entry for each token of the content."""

    content: list[TokenLogprob]
    refusal: None = None


class CalledFunction(Told):
    """The function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Told):
    """A call that the model asks for."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Told):
    """The answer; content is null when there are calls alone."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning: Annotated[str | None, WHEN_SAID] = None
    reasoning_content: Annotated[str | None, WHEN_SAID] = None
    tool_calls: Annotated[list[ToolCall] | None, WHEN_SAID] = None


class Choice(Told):
    """One of n answers."""

    index: int
    message: AssistantMessage
    logprobs: Logprobs | None = None
    finish_reason: Finish


class ChatCompletion(Told):
    """An answer that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[Choice]
    usage: Usage


class DeltaCall(ToolCall):
    """A call with its place among the answer's calls; always whole."""

    index: int


class Delta(Told):
    """What is new; empty in the last chunk of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaCall] | None = None


class ChunkChoice(Told):
    """What is new in one of n answers."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Finish | None


class ChatCompletionChunk(Told):
    """A piece of a stream; the last one has no choices but the usage, if that was asked for."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


def chat_completion(identity: Identity, answers: Sequence[Answer], *, logprobs: bool) -> ChatCompletion:
    """The whole body."""
    return ChatCompletion(
        id=identity.id,
        created=identity.created,
        model=identity.model,
        choices=[_choice(index, answer, logprobs) for index, answer in enumerate(answers)],
        usage=usage_of(answers),
    )


class ChatStream:
    """Writes a stream's chunks; takes the events of n answers."""

    def __init__(self, identity: Identity, answers: int, *, usage: bool, one_call: bool = False) -> None:
        self._frame = Frame(identity, "chat.completion.chunk", usage=usage)
        self._answers = [Answer(one_call) for _ in range(answers)]

    def begin(self) -> bytes:
        """The first chunk of every answer."""
        return b"".join(
            self._frame.choice(index, '"delta":{"role":"assistant","content":""}')
            for index in range(len(self._answers))
        )

    def add(self, index: int, event: inference_pb2.ChatResponse) -> bytes:
        """The chunks of an event."""
        if event.HasField("chunk"):
            return self._chunk(index, event.chunk)
        if event.HasField("prefill"):
            return progress(event.prefill)
        answer = self._answers[index]
        calls = len(answer.calls)
        answer.add(event)
        if event.HasField("finished"):
            return self._frame.choice(index, '"delta":{}', finish=f'"{_finish(answer)}"')
        return b"".join(
            self._delta(index, f'"tool_calls":[{DeltaCall(index=place, **_call(call)).ascii_json()}]')
            for place, call in enumerate(answer.calls[calls:], calls)
        )

    def end(self) -> bytes:
        """The last lines."""
        return self._frame.end(usage_of(self._answers))

    def _chunk(self, index: int, chunk: inference_pb2.TokenChunk) -> bytes:
        told, logprobs = b"", "null"
        if chunk.thinking:
            self._answers[index].thinking_tokens += len(chunk.token_ids)
            thinking = json.dumps(chunk.thinking)
            told = self._delta(index, f'"reasoning":{thinking},"reasoning_content":{thinking}')
        if chunk.text:
            if chunk.logprobs:
                logprobs = logprobs_of(chunk.logprobs).ascii_json()
            told += self._delta(index, f'"content":{json.dumps(chunk.text)}', logprobs)
        return told

    def _delta(self, index: int, members: str, logprobs: str = "null") -> bytes:
        return self._frame.choice(index, f'"delta":{{{members}}}', logprobs)


def logprobs_of(tokens: Iterable[inference_pb2.TokenLogprobs]) -> Logprobs:
    """The tokens in OpenAI's form."""
    return Logprobs(
        content=[
            TokenLogprob(**_token(token.chosen), top_logprobs=[Alternative(**_token(other)) for other in token.top])
            for token in tokens
        ]
    )


def _choice(index: int, answer: Answer, logprobs: bool) -> Choice:
    calls = [ToolCall(**_call(call)) for call in answer.calls]
    return Choice(
        index=index,
        message=AssistantMessage(
            content=answer.text or (None if calls else ""),
            reasoning=answer.thinking or None,
            reasoning_content=answer.thinking or None,
            tool_calls=calls or None,
        ),
        logprobs=logprobs_of(answer.logprobs) if logprobs else None,
        finish_reason=_finish(answer),
    )


def _finish(answer: Answer) -> Finish:
    if answer.cut_short:
        return "length"
    return "tool_calls" if answer.calls else "stop"


def _call(call: inference_pb2.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": CalledFunction(name=call.name, arguments=call.arguments_json)}


def _token(token: inference_pb2.TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token.decode("utf-8", "replace"),
        "logprob": finite(token.logprob),
        "bytes": list(token.token),
    }
