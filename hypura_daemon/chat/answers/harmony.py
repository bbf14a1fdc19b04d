"""Parses answers in gpt-oss's harmony format: messages, each with a channel, and a recipient if it is a call.

<|channel|>analysis<|message|>thinking<|end|><|start|>assistant<|channel|>final<|message|>content

https://cookbook.openai.com/articles/openai-harmony
"""

import re
from enum import Enum, auto

from hypura_daemon.chat.parts import MARKUP, Kind, Part, overlap
from hypura_daemon.chat.tools import Toolbox, call, loads

START, CHANNEL, MESSAGE, END = "<|start|>", "<|channel|>", "<|message|>", "<|end|>"
CONSTRAIN = "<|constrain|>"
_ENDS = (END, "<|call|>", "<|return|>", START)
VISIBLE = (START, CHANNEL, MESSAGE, CONSTRAIN, *_ENDS[:3])
_MAX_HEADER_CHARACTERS = 512
_HEADERS_BEGIN = ("<|", "to=", "assistant")
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"to=([^\s<]+)")
_FIND_END = re.compile("|".join(map(re.escape, _ENDS)))


class _State(Enum):
    HEADER = auto()
    BODY = auto()
    BETWEEN = auto()


class HarmonyParser:
    """A Parser; see above. inside: the kind of the message in whose text the prompt ends, if it ends in one."""

    def __init__(self, tools: Toolbox, inside: Kind | None = None) -> None:
        self._tools = tools
        self._state = _State.HEADER if inside is None else _State.BODY
        self._kind = inside or Kind.CONTENT
        self._name = ""
        self._buffer = ""
        self._final = False
        self._cut = False

    def push(self, text: str) -> list[Part]:
        """See Parser."""
        if self._state is _State.BODY and self._kind is not Kind.CALL and not self._buffer and "<" not in text:
            return [Part(self._kind, text)] if text else []
        self._buffer += text
        return self._advance()

    def finish(self, *, cut: bool = False) -> list[Part]:
        """See Parser."""
        self._final, self._cut = True, cut
        return self._advance()

    def _advance(self) -> list[Part]:
        parts: list[Part] = []
        steps = {_State.HEADER: self._header, _State.BODY: self._body, _State.BETWEEN: self._between}
        while self._buffer and steps[self._state](parts):
            pass
        return parts

    def _header(self, parts: list[Part]) -> bool:
        at = self._buffer.find(MESSAGE)
        if 0 <= at <= _MAX_HEADER_CHARACTERS and self._may_be_header(self._buffer[:at] or MESSAGE):
            self._open(self._buffer[:at])
            self._buffer = self._buffer[at + len(MESSAGE) :]
            parts.append(MARKUP)
            self._state = _State.BODY
            return True
        waiting = len(self._buffer) <= _MAX_HEADER_CHARACTERS + len(MESSAGE) and self._may_be_header(self._buffer)
        if waiting and not self._final:
            return False
        if waiting and (self._cut or self._buffer.lstrip().startswith((CHANNEL, START))):
            self._buffer = ""  # An incomplete header: its tokens are never text.
            return False
        self._kind, self._state = Kind.CONTENT, _State.BODY
        return True

    def _may_be_header(self, text: str) -> bool:
        start = text.lstrip()
        return any(start.startswith(one) or one.startswith(start) for one in _HEADERS_BEGIN)

    def _open(self, header: str) -> None:
        channel, recipient = _CHANNEL_NAME.search(header), _RECIPIENT.search(header)
        self._name = recipient[1].removeprefix("functions.") if recipient is not None else ""
        if self._name and self._tools:
            self._kind = Kind.CALL
        else:
            self._kind = Kind.THINKING if channel is not None and channel[1] == "analysis" else Kind.CONTENT

    def _body(self, parts: list[Part]) -> bool:
        match = _FIND_END.search(self._buffer)
        if match is None and self._kind is Kind.CALL and not self._final:
            return False
        certain = len(self._buffer) - (0 if self._final and not self._cut else overlap(self._buffer, _ENDS))
        text = self._buffer[: match.start() if match is not None else certain]
        if text:
            part = self._call(text) if self._kind is Kind.CALL else Part(self._kind, text)
            if self._kind is part.kind or match is not None or not self._cut:
                parts.append(part)
        if match is None:
            self._buffer = "" if self._cut else self._buffer[certain:]
            return False
        parts.append(MARKUP)
        self._buffer = self._buffer[match.end() :]
        self._state = _State.HEADER if match[0] == START else _State.BETWEEN
        return True

    def _call(self, text: str) -> Part:
        try:
            arguments = loads(text)
        except ValueError:
            arguments = None
        return call(self._name, arguments) if isinstance(arguments, dict) else Part(Kind.CONTENT, text)

    def _between(self, parts: list[Part]) -> bool:
        """Between messages: only the next message's start is expected; anything else is content."""
        start = self._buffer.lstrip()
        if start.startswith(START):
            self._buffer, self._state = start[len(START) :], _State.HEADER
            return True
        if START.startswith(start) and (not self._final or self._cut):
            self._buffer = "" if self._cut else self._buffer
            return False
        self._kind, self._state = Kind.CONTENT, _State.BODY
        return True
