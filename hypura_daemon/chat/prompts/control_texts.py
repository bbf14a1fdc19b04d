"""Keeps control tokens' texts that users write as plain text: marks follow them through the template.

    messages ─► each such text between two marks ─► template ─► prompt with marks ─► prompt, and where users' texts are

The template's own control tokens stay control tokens. The marks are characters that occur neither in the data nor in
the prompt, and only such texts get them: without any, the prompt is rendered once, unchanged. A template may examine
its data, such as its length or beginning. Where the prompt with marks then differs from the one without by more than
the marks, the texts that cause it stay unmarked, and are control tokens as before.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypura.v1 import worker_pb2
from hypura_daemon.errors import InvalidRequest

_PRIVATE_CHARACTERS = range(0xF0000, 0x10FFFE)
_MAX_RENDERINGS = 16
_MAX_SECONDS = 10.0
"""The limits of renderings and of time after which no further marks are tried."""
_MAX_CONTROL_CHARACTERS = 200

Render = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text, and the places (start, end) where a control token's text is a user's plain text."""

    text: str
    plain: tuple[tuple[int, int], ...] = ()

    def without_prefix(self, prefix: str) -> "Prompt":
        """The prompt without this prefix, if it has it, unless a user wrote that."""
        length = len(prefix)
        if not self.text.startswith(prefix) or any(start < length for start, _ in self.plain):
            return self
        return Prompt(self.text[length:], tuple((start - length, end - length) for start, end in self.plain))

    @property
    def markup(self) -> str:
        """The text with blanks in place of users' control texts, for a search for markers."""
        pieces, at = [], 0
        for start, end in self.plain:
            pieces += [self.text[at:start], " " * (end - start)]
            at = end
        return "".join([*pieces, self.text[at:]])

    @property
    def spans(self) -> Iterator[worker_pb2.TextSpan]:
        """`plain` in bytes, for the worker."""
        at = bytes_before = 0
        for start, end in self.plain:
            bytes_before += len(self.text[at:start].encode())
            length = len(self.text[start:end].encode())
            yield worker_pb2.TextSpan(start_bytes=bytes_before, length_bytes=length)
            at, bytes_before = end, bytes_before + length


def plain_text(text: str) -> Prompt:
    """A prompt that is wholly a user's text."""
    return Prompt(text, ((0, len(text)),) if text else ())


class ControlTexts:
    """The texts of a vocabulary's control tokens, and where they are in a string."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = {text for text in texts if 0 < len(text) <= _MAX_CONTROL_CHARACTERS}
        self._known = frozenset(known)
        self._find = re.compile(_any_of(sorted(known))) if known else None
        self._beginnings = frozenset(text[:length] for text in known for length in range(1, len(text)))
        self._endings = frozenset(text[-length:] for text in known for length in range(1, len(text)))
        self._longest = max(map(len, known), default=0)

    def __contains__(self, text: str) -> bool:
        return text in self._known

    def places(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each control token's text, complete or cut off at the beginning or end of the string.

        The text beside the string in the prompt may complete those.
        """
        if self._find is None:
            return []
        lengths = range(min(self._longest - 1, len(text)), 0, -1)
        ended = next((length for length in lengths if text[:length] in self._endings), 0)
        begun = next((length for length in lengths if text[-length:] in self._beginnings), 0)
        found = [(0, ended), *(match.span() for match in self._find.finditer(text)), (len(text) - begun, len(text))]
        places: list[tuple[int, int]] = []
        for start, end in sorted(place for place in found if place[0] < place[1]):
            if places and start < places[-1][1]:
                places[-1] = places[-1][0], max(end, places[-1][1])
            else:
                places.append((start, end))
        return places


NO_CONTROLS = ControlTexts(())


@lru_cache(maxsize=8)
def control_texts(texts: tuple[str, ...]) -> ControlTexts:
    """The ControlTexts of a vocabulary, cached."""
    return ControlTexts(texts)


def rendered(render: Render, data: Any, controls: ControlTexts) -> Prompt:
    """The prompt that `render` makes of strings, lists and mappings. Raises what `render` raises.

    May take seconds, so call it outside the event loop.
    """
    text = render(data)
    kinds = sorted({string[start:end] for string in _strings(data) for start, end in controls.places(string)})
    if not kinds:
        return Prompt(text)
    marks = _unused(text, *_strings(data))
    renderings, deadline = _MAX_RENDERINGS, time.monotonic() + _MAX_SECONDS

    def tried(some: Sequence[str]) -> Prompt | None:
        """The prompt with these kinds marked; None if that changes it."""
        nonlocal renderings
        renderings -= 1
        wanted = frozenset(some)
        try:
            marked = render(_mapped(data, lambda string: _marked(string, controls, wanted, marks)))
        except InvalidRequest:
            return None
        prompt = _unmarked(marked, marks)
        return prompt if prompt is not None and prompt.text == text else None

    if prompt := tried(kinds):
        return prompt
    kept: list[str] = []
    waiting = [kinds]
    while waiting and renderings > 1 and time.monotonic() < deadline:
        some = waiting.pop(0)
        if len(some) < len(kinds) and tried(some):
            kept += some
        elif len(some) > 1:
            middle = len(some) // 2
            waiting += [some[:middle], some[middle:]]
    return (tried(kept) if kept else None) or Prompt(text)


def _marked(text: str, controls: ControlTexts, wanted: frozenset[str], marks: tuple[str, str]) -> str:
    pieces, at = [], 0
    for start, end in controls.places(text):
        if text[start:end] in wanted:
            pieces += [text[at:start], marks[0], text[start:end], marks[1]]
            at = end
    return "".join([*pieces, text[at:]])


def _unmarked(text: str, marks: tuple[str, str]) -> Prompt | None:
    """The prompt without its marks; None if they are not in pairs."""
    first, *others = text.split(marks[0])
    pieces, length, plain = [first], len(first), []
    for piece in others:
        inner, closed, behind = piece.partition(marks[1])
        if not closed:
            return None
        plain.append((length, length + len(inner)))
        pieces += [inner, behind]
        length += len(inner) + len(behind)
    joined = "".join(pieces)
    return None if marks[1] in joined else Prompt(joined, tuple(plain))


def _unused(*texts: str) -> tuple[str, str]:
    """Two characters that occur in none of the texts."""
    used = frozenset().union(*texts)
    free = (character for character in map(chr, _PRIVATE_CHARACTERS) if character not in used)
    first, second = next(free, ""), next(free, "")
    if not second:
        raise InvalidRequest("the conversation uses all of Unicode's supplementary private characters; leave some out")
    return first, second


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(data, Sequence):
        for value in data:
            yield from _strings(value)


def _mapped(data: Any, change: Callable[[str], str]) -> Any:
    """The data with its strings changed."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Mapping):
        return {_mapped(key, change): _mapped(value, change) for key, value in data.items()}
    if isinstance(data, Sequence):
        return [_mapped(value, change) for value in data]
    return data


def _any_of(texts: Sequence[str]) -> str:
    """A regular expression for the longest of these, as a tree of letters, so that thousands cost no more than one."""
    following: dict[str, list[str]] = {}
    for text in texts:
        if text:
            following.setdefault(text[0], []).append(text[1:])
    ways = [re.escape(first) + _any_of(rest) for first, rest in following.items()]
    if not ways:
        return ""
    return f"(?:{'|'.join(ways)})" + ("?" if "" in texts else "")
