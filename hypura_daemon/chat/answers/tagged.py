"""Parses answers with thinking and tool calls between markers.

    START ──opening marker──► THINKING ──closing marker──► START
      │                                                      │
      └──────── anything else ──► CONTENT ◄──────────────────┘
                                     │  ▲
                        call marker  ▼  │  its end, or not a call after all
                                    CALL

Thinking is recognized only at the beginning, so that an answer may mention its markers.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto

from hypura_daemon.chat.parts import MARKUP, Kind, Part, overlap
from hypura_daemon.chat.tool_calls.readers import NO_CALL, JsonReader, Reader, Reading
from hypura_daemon.chat.tool_calls.syntaxes import Syntax
from hypura_daemon.chat.tools import Toolbox

_BARE_BEGINNING = re.compile(r"\[?\s*(?P<object>\{)?\s*")
_STRING = re.compile(r'\s*"(?P<text>[^"\\]*)(?P<closed>")?')
_COLON, _COMMA = re.compile(r"\s*(:)?\s*"), re.compile(r"\s*(,)?\s*")
_BLANKS = " \t\r\n"
_BARE_KEYS = ("name", "type", "function", "parameters", "arguments", "id")
_BARE_TYPES = ("function", "function_call", "tool", "tool_call", "tool_use")


class _State(Enum):
    START = auto()
    THINKING = auto()
    CONTENT = auto()
    CALL = auto()


class TaggedParser:
    """A Parser; see above.

    opens and closes are the markers of thinking, empty for none. inside: the prompt already has the opening marker.
    Without a syntax, calls are content.
    """

    def __init__(self, opens: str, closes: str, *, inside: bool, syntax: Syntax | None, tools: Toolbox) -> None:
        self._opens = opens
        self._closes = closes
        self._syntax = syntax
        self._tools = tools
        self._state = _State.THINKING if inside else _State.START
        self._may_think = bool(opens) and not inside
        self._buffer = ""
        self._fresh = inside  # White space at the beginning of a part belongs to the markup.
        self._blanks = _BLANKS
        self._bare = syntax is not None and syntax.bare
        self._reader: Reader | None = None
        self._opened = ""  # The text that led into CALL: it becomes content if there is no call.
        self._final = False
        self._cut = False
        self._markers = syntax.markers if syntax is not None else ()
        self._find = re.compile("|".join(map(re.escape, self._markers))) if self._markers else None
        self._firsts = frozenset(marker[0] for marker in self._markers)

    def push(self, text: str) -> list[Part]:
        """See Parser."""
        if self._state is _State.CONTENT and not self._buffer and not self._fresh and self._is_plain(text):
            return [Part(Kind.CONTENT, text)] if text else []
        self._buffer += text
        return self._advance()

    def finish(self, *, cut: bool = False) -> list[Part]:
        """See Parser."""
        self._final, self._cut = True, cut
        parts = self._advance()
        while self._state is _State.CALL:
            self._call(parts)
            parts += self._advance()
        return parts

    def _is_plain(self, text: str) -> bool:
        """Whether the text is content, whatever follows."""
        if self._syntax is None:
            return True
        return text[-1:].strip() != "" and self._firsts.isdisjoint(text)

    def _advance(self) -> list[Part]:
        parts: list[Part] = []
        steps = {
            _State.START: self._start,
            _State.THINKING: self._think,
            _State.CONTENT: self._content,
            _State.CALL: self._call,
        }
        while self._buffer and steps[self._state](parts):
            pass
        return parts

    def _start(self, parts: list[Part]) -> bool:
        """Whether the state is decided; otherwise more text is needed."""
        start = self._buffer.lstrip()
        if not start and not self._final:
            return False
        if self._may_think and start:
            if start.startswith(self._opens):
                self._buffer = start[len(self._opens) :]
                self._may_think, self._fresh, self._state = False, True, _State.THINKING
                parts.append(MARKUP)
                return True
            if self._opens.startswith(start) and (self._cut or not self._final):
                self._buffer = "" if self._cut else self._buffer
                return False
        if self._bare and start[:1] in ("{", "["):
            self._open_bare()
            return True
        self._state = _State.CONTENT
        return True

    def _open_bare(self) -> None:
        start = self._buffer.lstrip()
        self._opened = "" if self._fresh else self._buffer[: len(self._buffer) - len(start)]
        self._buffer, self._reader, self._state = start, _BareReader(self._tools), _State.CALL

    def _think(self, parts: list[Part]) -> bool:
        if self._fresh:
            self._buffer = self._buffer.lstrip()
            if not self._buffer:
                return False
            self._fresh = False
        at = self._buffer.find(self._closes)
        if at >= 0:
            if text := self._buffer[:at].rstrip():
                parts.append(Part(Kind.THINKING, text))
            parts.append(MARKUP)
            self._buffer = self._buffer[at + len(self._closes) :]
            self._fresh, self._state = True, _State.START
            return True
        certain = self._certain((self._closes,))
        if certain:
            parts.append(Part(Kind.THINKING, self._buffer[:certain]))
        self._buffer = "" if self._cut else self._buffer[certain:]
        return False

    def _content(self, parts: list[Part]) -> bool:
        if self._fresh:
            self._buffer = self._buffer.lstrip(self._blanks)
            if not self._buffer:
                return False
        if self._bare and self._fresh and self._buffer[0] in "{[":
            self._open_bare()
            return True
        match = self._find.search(self._buffer) if self._find is not None else None
        certain = match.start() if match is not None else self._certain(self._markers)
        text = self._buffer[:certain]
        if match is None:
            if text:
                self._fresh = False
                parts.append(Part(Kind.CONTENT, text))
            self._buffer = "" if self._cut else self._buffer[certain:]
            return False
        if stripped := text.rstrip():
            parts.append(Part(Kind.CONTENT, stripped))
            self._fresh = False
        self._buffer = self._buffer[match.end() :]
        make = self._syntax.opens.get(match[0]) if self._syntax is not None else None
        if make is None:
            parts.append(MARKUP)
            self._fresh = True
            return True
        self._opened = text[len(stripped) :] + match[0]
        self._reader, self._state = make(self._tools), _State.CALL
        return self._call(parts)

    def _call(self, parts: list[Part]) -> bool:
        reader = self._reader
        if self._cut and reader is not None and reader.read(self._buffer, final=False) is None:
            whole = reader.read(self._buffer, final=True, cut=True)
            parts.extend(whole.calls if whole is not None else ())
            self._buffer, self._reader, self._opened, self._state = "", None, "", _State.CONTENT
            return True
        reading = reader.read(self._buffer, final=self._final) if reader is not None else NO_CALL
        if reading is None:
            return False
        self._state = _State.CONTENT
        if reading.calls:
            parts.extend(reading.calls)
            self._buffer = self._buffer[reading.end :]
            self._fresh = True
            self._blanks = _BLANKS + ";" if isinstance(self._reader, _BareReader) else _BLANKS
        else:
            bare = isinstance(self._reader, _BareReader)
            opened = self._opened if not bare else self._opened + self._buffer[:1]
            self._buffer = self._buffer[1:] if bare else self._buffer
            if opened:
                parts.append(Part(Kind.CONTENT, opened))
            self._fresh = False
        self._reader, self._opened = None, ""
        return True

    def _certain(self, markers: tuple[str, ...]) -> int:
        """How much of the buffer cannot become part of a marker; nor of white space before one, which is dropped."""
        if self._final and not self._cut:
            return len(self._buffer)
        certain = len(self._buffer) - overlap(self._buffer, markers)
        if self._cut and certain == len(self._buffer):
            return certain
        return len(self._buffer[:certain].rstrip()) if markers else certain


class _BareReader:
    """Reads JSON without a marker as a call of an offered tool; stops as soon as it cannot be one."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._json = JsonReader()
        self._is_known_tool = False

    def read(self, text: str, *, final: bool, cut: bool = False) -> Reading | None:
        """See Reader."""
        if not self._is_known_tool:
            possible = _could_be_call(text, self._tools)
            if possible is False:
                return NO_CALL
            self._is_known_tool = bool(possible)
        reading = self._json.read(text, final=final)
        if reading is not None and any(one.name not in self._tools.by_name for one in reading.calls):
            return NO_CALL
        return reading


def _could_be_call(text: str, tools: Toolbox) -> bool | None:
    """Whether JSON with this beginning may be a call of an offered tool; None while that is undecided.

    Before the name there may be the type, an id, and the opening of the object "function".
    """
    start = _BARE_BEGINNING.match(text)
    if start is None or not start["object"]:
        return None if start is not None and start.end() == len(text) else False
    at = start.end()
    while at < len(text):
        key = _STRING.match(text, at)
        if key is None or not _may_be(key, _BARE_KEYS, text):
            return False
        colon = _COLON.match(text, key.end())
        if not key["closed"] or colon is None or colon.end() == len(text):
            return None
        if not colon[1]:
            return False
        name, at = key["text"], colon.end()
        if name in ("parameters", "arguments"):
            return True
        if name == "function" and text[at] == "{":
            at += 1
            continue
        value = _STRING.match(text, at)
        known = tools.by_name if name in ("name", "function") else _BARE_TYPES if name == "type" else None
        if value is None or not _may_be(value, known, text):
            return False
        if not value["closed"]:
            return None
        if name in ("name", "function"):
            return True
        comma = _COMMA.match(text, value.end())
        if comma is None or (not comma[1] and comma.end() < len(text)):
            return False
        at = comma.end()
    return None


def _may_be(found: re.Match[str], known: Iterable[str] | None, text: str) -> bool:
    """Whether a JSON string, perhaps incomplete at the end of the text, may be one of these; None: any string."""
    if not found["closed"] and found.end() < len(text):
        return False
    if known is None:
        return True
    return any(one == found["text"] if found["closed"] else one.startswith(found["text"]) for one in known)
