"""Writes grammars in llama.cpp's notation (GBNF): rules, literals, counts, and text up to a marker.

https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

import re
from collections.abc import Callable, Iterable
from math import isqrt

from hypura_daemon.errors import InvalidRequest

MAX_RULES = 3500
MAX_CHARACTERS = 200_000
MAX_COUNT = 1 << 17
"""The most repetitions that are counted."""
_DIRECT_COUNT = 64
_NAME = re.compile(r"[^a-z0-9-]+")
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[0-9, ]*\}|([a-z][a-z0-9-]*)')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

SPACE = '( " " | "\\n" [ \\t]{0,24} )?'


class Grammar:
    """Rules, as they are added. A name that is taken gets a number; all but the root begin with `prefix`."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._rules: dict[str, str] = {"root": ""}
        self._until: dict[str, str] = {}
        self._bodies: dict[str, str] = {}
        self._shared: dict[str, str] = {}
        self._characters = 0

    def reserve(self, hint: str) -> str:
        """A new name, to be defined later. Raises InvalidRequest when there are too many."""
        if len(self._rules) >= MAX_RULES:
            raise InvalidRequest(f"the schema needs a grammar of more than {MAX_RULES} rules; make it simpler")
        stem = _NAME.sub("-", hint.lower())[:40].strip("-")
        stem = self._prefix + (stem if stem[:1].isalpha() else f"r-{stem}".rstrip("-"))
        name, number = stem, 1
        while name in self._rules:
            number += 1
            name = f"{stem}-{number}x"
        self._rules[name] = ""
        return name

    def define(self, name: str, body: str) -> str:
        """Give a reserved name its rule; returns the name."""
        self._characters += len(body)
        if self._characters > MAX_CHARACTERS:
            raise InvalidRequest(
                f"the schema needs a grammar of more than {MAX_CHARACTERS} characters; make it simpler"
            )
        self._rules[name] = body
        return name

    def add(self, hint: str, body: str) -> str:
        """A new rule; returns its name."""
        return self.define(self.reserve(hint), body)

    def shared(self, name: str, body: str) -> str:
        """A rule that is the same wherever it is wanted."""
        return self.made(name, lambda: self.add(name, body))

    def made(self, name: str, make: Callable[[], str]) -> str:
        """What `make` has made for this name, which it does once."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def shared_body(self, hint: str, body: str) -> str:
        """The rule with this very body."""
        if body not in self._bodies:
            self._bodies[body] = self.add(hint, body)
        return self._bodies[body]

    def space(self) -> str:
        """Where JSON may have white space: a blank, or a new line with an indent. Not more: models get stuck in it."""
        return self.shared("ws", SPACE)

    def repeated(self, item: str, low: int, high: int | None) -> str:
        """`low` to `high` of an item, which is a name, a class or in brackets; None is any number.

        Large counts are made of blocks, so that the number of rules grows with the root of the count.
        """
        if low > MAX_COUNT:
            raise InvalidRequest(f"{low} repetitions are asked for; at most {MAX_COUNT} can be counted")
        if high is not None and high > MAX_COUNT:
            high = None
        if high is None:
            return {0: f"{item}*", 1: f"{item}+"}.get(low, f"{self._exactly(item, low)} {item}*")
        if high <= _DIRECT_COUNT:
            return f"{item}{{{low},{high}}}" if low != high else self._exactly(item, low)
        return f"{self._exactly(item, low)} {self._up_to(item, high - low)}".strip()

    def until(self, marker: str) -> str:
        """Any text up to and with the first occurrence of the marker: the automaton of Knuth, Morris and Pratt."""
        if marker in self._until:
            return self._until[marker]
        names = [self.reserve("until") for _ in marker]
        letters = sorted(set(marker))
        for state, name in enumerate(names):
            ways = [f"[^{''.join(map(class_character, letters))}] {names[0]}"]
            for letter in letters:
                follows = _follow(marker, state, letter)
                ways.append(literal(letter) + (f" {names[follows]}" if follows < len(marker) else ""))
            self.define(name, " | ".join(ways))
        self._until[marker] = names[0]
        return names[0]

    def text(self, root: str, name: str = "root") -> str:
        """The grammar whose rule `name` is the expression `root`, with the rules that it needs."""
        rules = {**self._rules, name: root}
        wanted, found = [name], {name}
        while wanted:
            for used in _names(rules[wanted.pop()]):
                if used not in found and (used in self._rules and used != "root"):
                    found.add(used)
                    wanted.append(used)
        return "".join(f"{used} ::= {rules[used]}\n" for used in rules if used in found)

    def _exactly(self, item: str, count: int) -> str:
        if count <= _DIRECT_COUNT:
            return "" if count == 0 else item if count == 1 else f"{item}{{{count}}}"
        size = isqrt(count)
        block = self.add("block", f"{item}{{{size}}}")
        rest = count % size
        return f"{block}{{{count // size}}}" + (f" {item}{{{rest}}}" if rest else "")

    def _up_to(self, item: str, count: int) -> str:
        if count <= _DIRECT_COUNT:
            return f"{item}{{0,{count}}}" if count else ""
        size = isqrt(count)
        block = self.add("block", f"{item}{{{size}}}")
        tail = self.add("tail", f"{item}{{0,{size - 1}}}")
        rest = count % size
        chain = self.add("up-to", f"{item}{{0,{rest}}}" if rest else '""')
        for _ in range(count // size):
            chain = self.add("up-to", f"{block} {chain} | {tail}")
        return chain


def literal(text: str) -> str:
    """The text itself, as a GBNF literal."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def class_character(character: str) -> str:
    """One character within [...]."""
    return character if character.isascii() and character.isalnum() else f"\\U{ord(character):08X}"


def character_class(ranges: Iterable[tuple[int, int]]) -> str:
    """A class of code points, given as ranges that include their ends."""
    parts = []
    for low, high in ranges:
        parts.append(class_character(chr(low)) + (f"-{class_character(chr(high))}" if high > low else ""))
    return f"[{''.join(parts)}]"


def either(ways: Iterable[str]) -> str:
    """One of the expressions, in brackets where there are several."""
    distinct = list(dict.fromkeys(ways))
    return distinct[0] if len(distinct) == 1 else f"( {' | '.join(distinct)} )"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08X}"


def _follow(marker: str, state: int, letter: str) -> int:
    """How much of the marker has been seen when `letter` comes after its first `state` characters."""
    seen = marker[:state] + letter
    return next(
        length for length in range(len(seen), -1, -1) if seen.endswith(marker[:length]) and length <= len(marker)
    )


def _names(body: str) -> set[str]:
    return {match[1] for match in _TOKEN.finditer(body) if match[1]}
