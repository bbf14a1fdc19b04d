"""Formats that mean harm, or ask for more than there is: each of its own kind.

Answered or refused, but never at the cost of others: see test_hostile.py.
"""

from __future__ import annotations

import json
from typing import Any

from hypura.v1 import worker_pb2

Json = Any


def _pattern(pattern: str) -> Json:
    return {"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}, "required": ["s"]}


def _chain(length: int) -> Json:
    links: dict[str, Json] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{length}": {"type": "integer"}}}


def _doubling(depth: int, key: str) -> Json:
    links: dict[str, Json] = {f"d{i}": {key: [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{depth}": {"type": "integer"}}}


def _four_objects(number: int) -> Json:
    return {
        "anyOf": [
            {"type": "object", "properties": {f"a{number}_{i}": {"type": "string"}, f"b{number}_{i}": {"enum": [i]}}}
            for i in range(4)
        ]
    }


def _nested(depth: int) -> Json:
    schema: Json = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


SCHEMAS: dict[str, Json] = {
    "counted counts": _pattern("^(a{0,500}){0,500}$"),
    "digits and commas": _pattern(r"^(\d{0,3},?){0,200}$"),
    "words and blanks": _pattern("^( *[a-z]{0,30}){0,200}$"),
    "counts of counts of counts": _pattern("^((((a{1,99}b?){1,99}c?){1,99}d?){1,99})$"),
    "a forced text of a million": _pattern("^a{1000000}$"),
    "patterns that must all match": {
        "allOf": [{"type": "string", "pattern": f"[a-z]{{0,{i}}}x.*{i}"} for i in range(1, 100)]
    },
    "twenty times four objects": {"allOf": [_four_objects(number) for number in range(20)]},
    "a bound of 401 digits": {"type": "integer", "maximum": 10**400},
    "500 nested references": _chain(500),
    "7,000 nested references": _chain(7000),
    "references that double, allOf": _doubling(60, "allOf"),
    "references that double, anyOf": _doubling(60, "anyOf"),
    "itself": {"$ref": "#"},
    "itself within itself": {
        "type": "object", "properties": {"a": {"$ref": "#"}, "b": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    },
    "2,000 values": {"enum": [f"value number {i}" for i in range(2000)]},
    "5,000 properties": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5000)}},
    "deep": _nested(99),
    "too deep": _nested(5000),
    "a huge maxItems": {"type": "array", "items": _nested(3), "maxItems": 10**9},
    "a huge minItems": {"type": "array", "items": {"const": 1}, "minItems": 10**9},
    "a huge maxLength": {"type": "string", "maxLength": 10**9},
    "a huge minLength": {"type": "string", "minLength": 10**9},
    "300 patterns of names": {"type": "object", "patternProperties": {f"^p{i}[a-z]*$": {} for i in range(300)}},
    "multiples of primes": {"type": "integer", "allOf": [{"multipleOf": n} for n in (907, 911, 919, 929, 937)]},
}  # fmt: skip
"""By name; the first ones were seen to freeze a model, or to fill the machine."""


def _gbnf_rules(count: int, body: str) -> str:
    rules = [f"r{i} ::= {body.format(i + 1)}" for i in range(count)]
    return "\n".join(["root ::= r0", *rules, f'r{count} ::= "a"'])


GRAMMARS: dict[str, str] = {
    "left recursion": 'root ::= root "x" | root root | "y"',
    "recursion without an end": "root ::= root",
    "rules that double": _gbnf_rules(60, "r{0} r{0}"),
    "rules that may be left out": _gbnf_rules(60, "r{0}? r{0}?"),
    "a long chain of rules": _gbnf_rules(10_000, "r{0}"),
    "all ways at once": 'root ::= a*\na ::= a a | a a a | "x" | ""',
    "counts of counts": 'root ::= ((("a" | "b"){0,1000}){0,1000}){0,1000}',
    "brackets": "root ::= " + "(" * 50_000 + '"a"' + ")" * 50_000,
    "many words": "root ::= " + " | ".join(f'"word{i}"' for i in range(20_000)),
}


def constraints() -> dict[str, worker_pb2.Constraint]:
    """All of them, by name."""
    found = {name: worker_pb2.Constraint(json_schema=_text(schema)) for name, schema in SCHEMAS.items()}
    return found | {f"GBNF: {name}": worker_pb2.Constraint(gbnf=text) for name, text in GRAMMARS.items()}


def _text(schema: Json) -> str:
    """The schema's JSON; Python's writer gives up where it nests deep."""
    try:
        return json.dumps(schema)
    except RecursionError:
        return '{"type": "array", "items": ' * 5000 + "{}" + "}" * 5000
