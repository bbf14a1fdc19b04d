"""Tool calls as grammars: each way of writing them, with the arguments held to the tool's schema."""

import json
from collections.abc import Mapping
from typing import Any

from hypura_daemon.chat.gbnf import Grammar, either, literal
from hypura_daemon.chat.schema.convert import schema_rule
from hypura_daemon.chat.tools import Tool


def json_call(
    grammar: Grammar,
    tool: Tool,
    key: str,
    *,
    before: str = "",
    after: str = "",
    name_key: str = "name",
    first: str = "",
) -> str:
    """{"name": …, key: {…}}, with these texts around; `first` are members that stand first."""
    name = json.dumps(tool.name, ensure_ascii=False)
    start = literal(f'{before}{{{first}"{name_key}": {name}, "{key}": ')
    return f"{start} {arguments(grammar, tool)} {literal('}' + after)}"


def named_call(grammar: Grammar, tool: Tool, before: str, between: str, after: str) -> str:
    """The name, and the arguments as JSON, with these texts around."""
    return f"{literal(before + tool.name + between)} {arguments(grammar, tool)} {literal(after)}"


def arguments(grammar: Grammar, tool: Tool) -> str:
    """The rule for a tool's arguments as one JSON object."""
    schema = {"type": "object", **tool.parameters}
    return schema_rule(grammar, schema, f"the schema of tool {tool.name!r}")


def plain_call(grammar: Grammar, tool: Tool, start: str, pair: tuple[str, str, str], end: str) -> str:
    """A call whose arguments are written as plain text.

    start and end stand around them, with {} for the tool's name; pair is what stands before, between and
    behind each argument's name and value.
    """
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", [])
    parts = [literal(start.format(tool.name))]
    before, between, behind = pair
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        given = f"{literal(before + name + between)} {_plain(grammar, tool, name, schema, behind)}"
        needed = isinstance(required, list) and name in required
        parts.append(given if needed else f"( {given} )?")
    return " ".join([*parts, literal(end)])


def _plain(grammar: Grammar, tool: Tool, name: str, schema: Any, behind: str) -> str:
    """An argument's value and what stands behind it: text as it is, all else as JSON."""
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        values = schema.get("enum")
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            return f"{either(literal(value) for value in values)} {literal(behind)}"
        return grammar.until(behind)
    shared = {key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}
    whole = {**schema, **shared} if isinstance(schema, Mapping) else schema
    return f"{schema_rule(grammar, whole, f'argument {name!r} of tool {tool.name!r}')} {literal(behind)}"


def gemma_call(grammar: Grammar, tool: Tool, quote: str, before: str, after: str) -> str | None:
    """call:name{key:<quote>text<quote>,…}: only for tools whose arguments are texts, numbers and booleans."""
    properties, required = tool.parameters.get("properties", {}), tool.parameters.get("required", [])
    plain = {"number", "integer", "boolean"}
    pairs: list[tuple[str, bool]] = []
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        if kind == "string":
            value = f"{literal(quote)} {grammar.until(quote)}"
        elif kind in plain:
            value = schema_rule(grammar, schema, f"argument {name!r} of tool {tool.name!r}")
        else:
            return None
        pairs.append((f"{literal(name + ':')} {value}", isinstance(required, list) and name in required))
    kept = [pair for pair, needed in pairs if needed] or [pair for pair, _ in pairs[:1]]
    others = [pair for pair, needed in pairs if pair not in kept]
    inner = ' "," '.join(kept) + "".join(f' ( "," {other} )?' for other in others)
    return f"{literal(f'{before}call:{tool.name}{{')} {inner} {literal('}' + after)}"
