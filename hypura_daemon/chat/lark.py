"""Writes the constraint of an answer: Lark rules, the schemas they refer to, and the model's markers.

Workers turn it into llguidance's grammar. Of a schema only the size and depth are checked here.
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from hypura.v1 import worker_pb2
from hypura_daemon.errors import InvalidRequest

MAX_SCHEMA_CHARACTERS = 1 << 18
MAX_SCHEMA_DEPTH = 100
KEY, ITEM = '": "', '", "'
"""What follows a key, and what separates members, in JSON as workers write it."""


class Lark:
    """A grammar to which rules are added. markers: texts that may be single tokens; the worker knows which are."""

    def __init__(self, markers: Iterable[str] = ()) -> None:
        known = sorted(filter(None, markers), key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, known))})") if known else None
        self._rules: dict[str, str] = {}
        self._markers: dict[tuple[str, bool], str] = {}
        self._parts: list[worker_pb2.ConstraintPart] = []

    def text(self, text: str) -> str:
        """This text, with the markers in it as markers."""
        pieces = self._split.split(text) if self._split is not None else [text]
        found = [self._marker(piece, until=False) if i % 2 else plain(piece) for i, piece in enumerate(pieces) if piece]
        return " ".join(found)

    def texts(self, texts: Iterable[str]) -> str:
        """These texts in a row; "\\n?" and " ?" are optional white space."""
        return " ".join(f"{plain(text[0])}?" if text in (" ?", "\n?") else self.text(text) for text in texts if text)

    def until(self, text: str) -> str:
        """Any text up to and including the first occurrence of this one."""
        pieces = [piece for piece in self._split.split(text) if piece] if self._split is not None else [text]
        first, *rest = pieces
        if self._split is not None and rest and not self._split.fullmatch(first):
            first, rest = text, []
        return " ".join([self._marker(first, until=True), *map(self.text, rest)])

    def schema(self, schema: Any, what: str) -> str:
        """JSON of a schema, which is given as JSON text or as parsed. Raises InvalidRequest."""
        text = schema_text(schema, what)
        return self._part(worker_pb2.ConstraintPart(what=what, json_schema=text))

    def gbnf(self, text: str) -> str:
        """Text of a client's GBNF grammar."""
        return self._part(worker_pb2.ConstraintPart(what="the grammar", gbnf=text))

    def rule(self, body: str) -> str:
        """Add a rule; returns its name."""
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def constraint(self, start: str) -> worker_pb2.Constraint:
        """The constraint with this start rule."""
        rules = {"start": start, **self._rules}
        return worker_pb2.Constraint(
            lark="\n".join(f"{name}: {body}" for name, body in rules.items()),
            parts=self._parts,
            markers=[
                worker_pb2.ConstraintMarker(rule=rule, text=text, until=until)
                for (text, until), rule in self._markers.items()
            ],
        )

    def _marker(self, text: str, *, until: bool) -> str:
        return self._markers.setdefault((text, until), f"m{len(self._markers)}")

    def _part(self, part: worker_pb2.ConstraintPart) -> str:
        part.name = f"p{len(self._parts)}"
        self._parts.append(part)
        return f"@{part.name}"


def plain(text: str) -> str:
    """The text as a Lark literal."""
    return json.dumps(text)


def either(ways: Iterable[str]) -> str:
    """One of the expressions, in brackets where there are several."""
    distinct = list(dict.fromkeys(ways))
    return distinct[0] if len(distinct) == 1 else f"( {' | '.join(distinct)} )"


def schema_text(schema: Any, what: str = "the JSON schema") -> str:
    """The JSON text of a schema whose size and depth are within bounds; no more is checked. Raises InvalidRequest."""
    try:
        if isinstance(schema, str):
            text, value = schema, json.loads(schema) if len(schema) <= MAX_SCHEMA_CHARACTERS else {}
        else:
            text, value = json.dumps(schema, ensure_ascii=False), schema
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{what} is not valid JSON: {error}") from error
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_SCHEMA_CHARACTERS} are allowed")
    if not isinstance(value, dict | bool):
        raise InvalidRequest(f"{what} is {text[:80]!r}; give a JSON object")
    if _depth(value) > MAX_SCHEMA_DEPTH:
        raise InvalidRequest(f"{what} nests deeper than {MAX_SCHEMA_DEPTH}; make it flatter")
    return text


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    return depth
