"""The parts of a model's answer: thinking, content, tool calls and markup, and the chat events made of them."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from hypura.v1 import inference_pb2, worker_pb2

_ID_BYTES = 9


class Kind(Enum):
    """The kind of a part. MARKUP has no text: it means that all text so far is accounted for."""

    THINKING = auto()
    CONTENT = auto()
    CALL = auto()
    MARKUP = auto()


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer. Of a call, the name is the tool's, and the text the JSON of its arguments."""

    kind: Kind
    text: str = ""
    name: str = ""


MARKUP = Part(Kind.MARKUP)


class Parser(Protocol):
    """Takes the text of an answer in any pieces and returns its parts, in order.

    The parts, joined, do not depend on how the text is cut; only white space around markup is dropped.
    """

    def push(self, text: str) -> list[Part]:
        """The parts that became certain with this text."""

    def finish(self, *, cut: bool = False) -> list[Part]:
        """The rest, when the answer has ended.

        cut: a limit or a stop string ended the answer, not the model. Incomplete markup, such as the beginning of a
        marker or of a call, is then dropped; if the model itself ended there, it is content.
        """


def overlap(text: str, markers: Iterable[str]) -> int:
    """The length of the longest end of the text that is the beginning of a marker, but not a whole marker."""
    longest = 0
    for marker in markers:
        for length in range(min(len(text), len(marker) - 1), longest, -1):
            if text.endswith(marker[:length]):
                longest = length
                break
    return longest


class Answering:
    """Turns the messages of a worker into those of a chat.

    Every token is reported once: with the text that it makes, or, if it is markup or part of a call, in a chunk with
    neither text nor thinking.
    """

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._token_ids: list[int] = []
        self._logprobs: list[inference_pb2.TokenLogprobs] = []

    def events(self, message: worker_pb2.WorkerGenerateResponse) -> Iterator[inference_pb2.ChatResponse]:
        """The chat messages for a message of the worker."""
        if message.HasField("prefill"):
            yield inference_pb2.ChatResponse(prefill=message.prefill)
        elif message.HasField("chunk"):
            self._token_ids.extend(message.chunk.token_ids)
            self._logprobs.extend(message.chunk.logprobs)
            yield from self._chat_messages(self._parser.push(message.chunk.text))
        elif message.HasField("finished"):
            end = message.finished
            cut = end.reason == inference_pb2.FINISH_REASON_LENGTH or bool(end.stop_string)
            yield from self._chat_messages(self._parser.finish(cut=cut))
            if self._token_ids:
                yield self._chunk("", "")
            yield inference_pb2.ChatResponse(finished=message.finished)

    def _chat_messages(self, parts: Sequence[Part]) -> Iterator[inference_pb2.ChatResponse]:
        parts = _joined(parts)
        last = max((i for i, part in enumerate(parts) if part.kind in (Kind.THINKING, Kind.CONTENT)), default=-1)
        if parts and last < 0 and self._token_ids:
            yield self._chunk("", "")
        for number, part in enumerate(parts):
            if part.kind is Kind.CALL:
                yield inference_pb2.ChatResponse(
                    tool_call=inference_pb2.ToolCall(id=_new_id(), name=part.name, arguments_json=part.text)
                )
            elif part.kind is not Kind.MARKUP:
                texts = (part.text, "") if part.kind is Kind.CONTENT else ("", part.text)
                yield self._chunk(*texts, with_tokens=number == last)

    def _chunk(self, text: str, thinking: str, *, with_tokens: bool = True) -> inference_pb2.ChatResponse:
        chunk = inference_pb2.TokenChunk(text=text, thinking=thinking)
        if with_tokens:
            chunk.token_ids.extend(self._token_ids)
            chunk.logprobs.extend(self._logprobs)
            self._token_ids.clear()
            self._logprobs.clear()
        return inference_pb2.ChatResponse(chunk=chunk)


def _joined(parts: Sequence[Part]) -> list[Part]:
    """The parts, with neighbours of the same kind joined."""
    joined: list[Part] = []
    for part in parts:
        if joined and joined[-1].kind is part.kind and part.kind is not Kind.CALL:
            joined[-1] = Part(part.kind, joined[-1].text + part.text)
        else:
            joined.append(part)
    return joined


def _new_id() -> str:
    return "call_" + secrets.token_urlsafe(_ID_BYTES).replace("-", "0").replace("_", "1")
