"""A request being answered: its tokens, the text they make, and what of it was sent."""

from __future__ import annotations

import codecs
import time
from collections.abc import Sequence

from hypura_worker.engine.events import Chunk, Logprob
from hypura_worker.engine.request import Request


class Generation:
    """The answer to one request, token by token.

    order: requests are numbered as they begin, oldest first. tokens: those of the prompt and the generated ones, all
    to be in the KV cache. alone: it is computed by itself, since a pass that it was part of failed; failures: how
    often it failed by itself.
    """

    def __init__(self, request: Request, order: int) -> None:
        self.request = request
        self.order = order
        self.tokens = list(request.prompt)
        self.alone = False
        self.failures = 0
        self._text = TextStream(request.limits.stop)
        self._unsent_tokens: list[int] = []
        self._unsent_logprobs: list[Logprob] = []

    @property
    def stop_string(self) -> str:
        """The stop string that ended the text; empty where none did."""
        return self._text.stopped_by

    def append(self, token: int, text: bytes, logprob: Logprob | None, context_tokens: int) -> str:
        """Add a token with its text, and send what became final; the reason if the answer ends with it, else empty."""
        self.count_time()
        counters, limits = self.request.counters, self.request.limits
        counters.output_tokens += 1
        self.tokens.append(token)
        self._unsent_tokens.append(token)
        if logprob is not None:
            self._unsent_logprobs.append(logprob)
        if final := self._text.push(text):
            self._send(final)
        if self._text.stopped:
            return "stop"
        full = len(self.tokens) >= min(context_tokens, limits.context_tokens or context_tokens)
        return "length" if full or counters.output_tokens == limits.max_tokens else ""

    def count_time(self) -> None:
        """Note the time of a token that was chosen now."""
        counters = self.request.counters
        counters.last_token = time.monotonic()
        counters.first_token = counters.first_token or counters.last_token

    def send_rest(self) -> None:
        """Send what was held back, at the end."""
        rest = self._text.finish()
        if rest or self._unsent_tokens:
            self._send(rest)

    def _send(self, text: str) -> None:
        self.request.emit(Chunk(text, tuple(self._unsent_tokens), tuple(self._unsent_logprobs)))
        self._unsent_tokens.clear()
        self._unsent_logprobs.clear()


class TextStream:
    """Turns bytes of tokens into text that may be shown: whole characters, no part of a stop string.

    Held back: bytes of a character that is not whole yet, and any end that may become a
    stop string. `stopped_by` is the stop string that was found first; it and what follows are dropped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._held = ""
        self.stopped_by = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""
        return bool(self.stopped_by)

    def push(self, data: bytes) -> str:
        """The text that became final with these bytes."""
        return self._advance(self._decoder.decode(data))

    def finish(self) -> str:
        """What was held back of a stop string. Bytes of a last character that never became whole are dropped."""
        text, self._held = self._held, ""
        return text

    def _advance(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        found = [(at, -len(stop), stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            at, _, self.stopped_by = min(found)
            self._held = ""
            return text[:at]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that begins the stop string."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
