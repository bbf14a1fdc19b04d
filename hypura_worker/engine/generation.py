"""Bytes of tokens into text that may be shown: whole characters, no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Takes tokens' bytes and gives final text.

    Held back: bytes of a character that is not whole yet, and any end that may become a
    stop string. `stopped_by` is the stop string that was seen first; it and what follows are dropped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._held = ""
        self.stopped_by = ""

    @property
    def stopped(self) -> bool:
        """Whether a stop string was seen."""
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
