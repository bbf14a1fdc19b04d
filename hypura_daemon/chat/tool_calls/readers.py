"""Reads tool calls out of the text that follows an opening marker, as it comes."""

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
    """The calls in the text up to `end`; none says that it holds no call after all."""

    calls: Sequence[Part]
    end: int = 0


NO_CALL = Reading(())


class Reader(Protocol):
    """Reads one block of calls. It is asked again with ever more text, until it answers."""

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """What the text says; None while more text must come, which it does unless it is final.

        cut: the final text was cut off, so that only calls that show their own end are whole.
        """


class JsonEnd:
    """Finds where a JSON object or array ends, going on where it stopped."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def find(self, text: str) -> int | None:
        """The index behind it; None while it is not whole; -1 if it is none, or broken by a tag."""
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
    """Calls as JSON: a list of them, or one after the other; the closing markers may be left out.

    head: what may stand before the JSON, with the tool's name as its group `name` if that stands there,
    and the JSON is then the arguments alone.
    """

    def __init__(self, closes: Sequence[str] = (), head: re.Pattern[str] | None = None) -> None:
        self._closes = closes
        self._head = head
        self._name = ""
        self._start = 0  # Of the next value; _end is that of the last one.
        self._end = 0
        self._search = JsonEnd()
        self._calls: list[Part] = []
        self._behind_value = False

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
            if not self._behind_value:
                end = self._search.find(text[self._start :])
                if end is None or end < 0:
                    return self._so_far() if final or end is not None else None
                calls = self._read_value(text[self._start : self._start + end])
                if not calls:
                    return self._so_far()
                self._calls += calls
                self._start = self._end = self._start + end
                self._behind_value = True
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
            self._start, self._search, self._behind_value = more, JsonEnd(), False

    def _read_value(self, text: str) -> list[Part]:
        try:
            value = loads(text)
        except ValueError:
            return []
        return json_calls({"name": self._name, "arguments": value} if self._name else value)

    def _so_far(self) -> Reading:
        return Reading(self._calls, self._end) if self._calls else NO_CALL


class BlockReader:
    """Calls up to a closing marker, all read at once by `parse`, which gives none for what is no call.

    A marker within an argument does no harm: the block ends at the first where it parses. `opens` in the
    block says that it never ended. whole: the markers are a part of what is parsed. `then` are markers that
    may follow. delimited: the text before the closing marker shows its own end.
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
        self._before, self._behind = (opens, closes) if whole else ("", "")
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
            calls = self._parse(self._before + text[:at] + self._behind)
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
    """The index behind the markers that follow `at`, which may be left out or, at the end, be begun alone.

    None while one may still come.
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
