"""Reads tool calls from the text after an opening marker, as it arrives."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypura_daemon.chat.parts import Part, overlap
from hypura_daemon.chat.tools import json_calls, loads

_MAX_HEAD_CHARACTERS = 512
_STRUCTURE = re.compile(r'["{}\[\]<]')
_IN_STRING = re.compile(r'["\\]')
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Reading:
    """The calls in the text up to `end`; no calls: the text is not a call after all."""

    calls: Sequence[Part]
    end: int = 0


NO_CALL = Reading(())


class Reader(Protocol):
    """Reads one block of calls. `read` is called with more and more text until it returns a Reading."""

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """The calls in the text; None while more text is needed, unless the text is final.

        cut: the final text was cut off, so that only calls that mark their own end are complete.
        """


class JsonEnd:
    """Finds the end of a JSON object or array; each search continues where the last one stopped."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def find(self, text: str) -> int | None:
        """The index after it; None while it is incomplete; -1 if there is none, or a tag interrupts it."""
        while self._at < len(text):
            if self._in_string:
                match = _IN_STRING.search(text, self._at)
                if match is None:
                    self._at = len(text)
                    return None
                if match[0] == "\\":
                    if match.end() == len(text):
                        self._at = match.start()
                        return None
                    self._at = match.end() + 1
                    continue
                self._in_string, self._at = False, match.end()
                continue
            if not self._depth:
                start = _skip(text, self._at)
                if start == len(text):
                    return None
                if text[start] not in "{[":
                    return -1
                self._at = start
            match = _STRUCTURE.search(text, self._at)
            if match is None:
                self._at = len(text)
                return None
            self._at = match.end()
            if match[0] == "<":
                return -1
            if match[0] == '"':
                self._in_string = True
            else:
                self._depth += 1 if match[0] in "{[" else -1
                if not self._depth:
                    return self._at
        return None


class JsonReader:
    """Reads calls as JSON: a list of them, or one after the other; the closing markers may be missing.

    head: what may precede the JSON. If it has the tool's name, as its group `name`, the JSON is only the arguments.
    """

    def __init__(self, closes: Sequence[str] = (), head: re.Pattern[str] | None = None) -> None:
        self._closes = closes
        self._head = head
        self._name = ""
        self._start = 0  # Where the next value starts; _end is where the last one ended.
        self._end = 0
        self._search = JsonEnd()
        self._calls: list[Part] = []
        self._after_value = False

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """See Reader."""
        if self._head is not None:
            brace = text.find("{")
            if brace < 0:
                return NO_CALL if final or len(text) > _MAX_HEAD_CHARACTERS else None
            match = self._head.fullmatch(text[:brace])
            if match is None:
                return NO_CALL
            self._name, self._start, self._head = match["name"], brace, None
        while True:
            if not self._after_value:
                end = self._search.find(text[self._start :])
                if end is None or end < 0:
                    return self._so_far() if final or end is not None else None
                calls = self._read_value(text[self._start : self._start + end])
                if not calls:
                    return self._so_far()
                self._calls += calls
                self._start = self._end = self._start + end
                self._after_value = True
            if not self._closes:
                return self._so_far()
            closed = skip_markers(text, self._start, self._closes, final=final)
            if closed is None:
                return None
            if closed > self._start or self._name:
                return Reading(self._calls, closed)
            more = _skip(text, closed, _BLANKS + ",;")
            if more == len(text) and not final:
                return None
            if more == len(text) or text[more] not in "{[":
                return self._so_far()
            self._start, self._search, self._after_value = more, JsonEnd(), False

    def _read_value(self, text: str) -> list[Part]:
        try:
            value = loads(text)
        except ValueError:
            return []
        return json_calls({"name": self._name, "arguments": value} if self._name else value)

    def _so_far(self) -> Reading:
        return Reading(self._calls, self._end) if self._calls else NO_CALL


class BlockReader:
    """Reads calls up to a closing marker, all at once by `parse`, which returns none for other text.

    A closing marker within an argument does no harm: the block ends at the first one before which it parses. An `opens`
    within the block means that it never ended. whole: the markers are parsed too. then: markers that may follow.
    delimited: the text before the closing marker marks its own end.
    """

    def __init__(
        self,
        opens: str,
        closes: str,
        parse: Callable[[str], Sequence[Part]],
        *,
        whole: bool = False,
        then: Sequence[str] = (),
        delimited: bool = True,
    ) -> None:
        self._opens = opens
        self._closes = closes
        self._parse = parse
        self._before, self._after = (opens, closes) if whole else ("", "")
        self._then = then
        self._delimited = delimited
        self._searched = 0

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """See Reader."""
        while True:
            at = text.find(self._closes, self._searched)
            body_end = at if at >= 0 else len(text)
            if self._opens in text[:body_end]:
                return NO_CALL
            if at < 0:
                self._searched = max(0, len(text) - len(self._closes) + 1)
                return self._last(text, cut) if final else None
            end = at + len(self._closes)
            calls = self._parse(self._before + text[:at] + self._after)
            if calls:
                closed = skip_markers(text, end, self._then, final=final)
                return None if closed is None else Reading(calls, closed)
            self._searched = end

    def _last(self, text: str, cut: bool) -> Reading:
        if cut and not self._delimited:
            return NO_CALL
        calls = self._parse(self._before + text[: len(text) - overlap(text, (self._closes,))])
        return Reading(calls, len(text)) if calls else NO_CALL


def skip_markers(text: str, at: int, markers: Sequence[str], *, final: bool) -> int | None:
    """The index after the markers that follow `at`, which may be missing or, at the end of the text, incomplete.

    None while a marker may still arrive.
    """
    for marker in markers:
        start = _skip(text, at)
        if text.startswith(marker, start):
            at = start + len(marker)
        elif marker.startswith(text[start:]):
            if not final:
                return None
            at = len(text)
    return at


def _skip(text: str, at: int, what: str = _BLANKS) -> int:
    while at < len(text) and text[at] in what:
        at += 1
    return at
