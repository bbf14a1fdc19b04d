"""Regular expressions as GBNF, for what stands between the quotes of a JSON string.

Python's own parser reads them; ECMAScript's spelling of named groups is taken too. What no grammar can
say (lookarounds, back references, word boundaries, letter case) is refused.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from hypura_daemon.chat.gbnf import Grammar, character_class, either, literal

MAX_PATTERN_CHARACTERS = 4096
_LAST = 0x10FFFF
_DIGITS = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 13), (32, 32), (160, 160))
_CATEGORIES = {
    "CATEGORY_DIGIT": (_DIGITS, False),
    "CATEGORY_NOT_DIGIT": (_DIGITS, True),
    "CATEGORY_WORD": (_WORD, False),
    "CATEGORY_NOT_WORD": (_WORD, True),
    "CATEGORY_SPACE": (_SPACE, False),
    "CATEGORY_NOT_SPACE": (_SPACE, True),
}
_NAMES = {
    "ASSERT": "a lookaround",
    "ASSERT_NOT": "a lookaround",
    "GROUPREF": "a back reference",
    "GROUPREF_EXISTS": "a condition",
    "AT": "a word boundary, or ^ or $ in its middle",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive count",
}
# What JSON writes in two characters; other control characters are left out of every class.
_SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: '"', 92: "\\"}

Ranges = Sequence[tuple[int, int]]


class UnsupportedPattern(ValueError):
    """No grammar says what this pattern does; the message says why."""


def pattern_text(grammar: Grammar, pattern: str) -> str:
    """The characters, as JSON writes them, of the strings in which the pattern is found. Raises UnsupportedPattern."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise UnsupportedPattern(f"it has {len(pattern)} characters, more than {MAX_PATTERN_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
        if parsed.state.flags & (re.IGNORECASE | re.MULTILINE | re.VERBOSE):
            raise UnsupportedPattern("it sets a flag")
        return either(_anchored(grammar, way) for way in _ways(list(parsed)))
    except (re.error, OverflowError, RecursionError) as error:
        raise UnsupportedPattern(f"it is no regular expression: {error}") from error


def _ways(sequence: list[Any]) -> list[list[Any]]:
    """The alternatives at the top, where anchors may stand."""
    for number, (code, value) in enumerate(sequence):
        if code is codes.BRANCH:
            before, after = sequence[:number], sequence[number + 1 :]
            if any(inner[0] is codes.AT for way in value[1] for inner in way):
                return [way for chosen in value[1] for way in _ways(before + list(chosen) + after)]
        elif code is codes.SUBPATTERN and len(sequence) == 1 and not value[1] and not value[2]:
            return _ways(list(value[3]))
    return [sequence]


def _anchored(grammar: Grammar, sequence: list[Any]) -> str:
    starts = (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING)
    ends = (codes.AT_END, codes.AT_END_STRING)
    anything = f"{_characters(grammar, ((0, _LAST),))}*"
    before = after = anything
    if sequence and sequence[0][0] is codes.AT and sequence[0][1] in starts:
        before, sequence = "", sequence[1:]
    if sequence and sequence[-1][0] is codes.AT and sequence[-1][1] in ends:
        after, sequence = "", sequence[:-1]
    return f"{before} {_sequence(grammar, sequence)} {after}".strip()


def _sequence(grammar: Grammar, sequence: Iterable[Any]) -> str:
    parts = [_one(grammar, code, value) for code, value in sequence]
    return " ".join(part for part in parts if part) or '""'


def _one(grammar: Grammar, code: Any, value: Any) -> str:
    if code is codes.LITERAL:
        return _characters(grammar, ((value, value),))
    if code is codes.NOT_LITERAL:
        return _characters(grammar, _inverted([(value, value)]))
    if code is codes.ANY:
        return _characters(grammar, _inverted([(10, 10), (13, 13)]))
    if code is codes.IN:
        return _characters(grammar, _set(value))
    if code is codes.BRANCH:
        return either(_sequence(grammar, way) for way in value[1])
    if code is codes.SUBPATTERN:
        if value[1] or value[2]:
            raise UnsupportedPattern("it sets a flag")
        return f"( {_sequence(grammar, value[3])} )"
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        low, high, repeated = value
        item = _sequence(grammar, repeated)
        if item == '""':
            return ""
        named = item if item.startswith("[") and item.count("[") == 1 else grammar.add("part", item)
        return grammar.repeated(named, low, None if high is codes.MAXREPEAT else high)
    raise UnsupportedPattern(f"it has {_NAMES.get(str(code), str(code))}")


def _set(items: Iterable[Any]) -> Ranges:
    ranges: list[tuple[int, int]] = []
    negated = False
    for code, value in items:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.LITERAL:
            ranges.append((value, value))
        elif code is codes.RANGE:
            ranges.append(value)
        elif code is codes.CATEGORY and str(value) in _CATEGORIES:
            known, inverted = _CATEGORIES[str(value)]
            ranges.extend(_inverted(known) if inverted else known)
        else:
            raise UnsupportedPattern(f"it has {code} in a class")
    return _inverted(ranges) if negated else ranges


def _inverted(ranges: Iterable[tuple[int, int]]) -> Ranges:
    result, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            result.append((at, low - 1))
        at = max(at, high + 1)
    if at <= _LAST:
        result.append((at, _LAST))
    return result


def _characters(grammar: Grammar, ranges: Ranges) -> str:
    """One of the characters, as JSON writes it."""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and ranges[0][0] >= 32:
        code = ranges[0][0]
        return literal(f"\\{_SHORT[code]}" if code in _SHORT else chr(code))
    plain = _inverted([*_inverted(ranges), (0, 31), (34, 34), (92, 92), (127, 127), (0xD800, 0xDFFF)])
    escaped = [short for code, short in _SHORT.items() if any(low <= code <= high for low, high in ranges)]
    ways = [character_class(plain)] if plain else []
    ways += [literal(f"\\{short}") for short in escaped]
    if not ways:
        raise UnsupportedPattern("it has a class without a character")
    return ways[0] if len(ways) == 1 else grammar.shared_body("character", either(ways))
