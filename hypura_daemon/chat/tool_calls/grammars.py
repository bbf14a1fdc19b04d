"""Tool calls as Lark: one function for each way of writing them, with the arguments bound by the tool's schema."""

import json
from collections.abc import Mapping
from typing import Any

from hypura_daemon.chat.lark import ITEM, KEY, Lark, either, plain
from hypura_daemon.chat.tools import Tool


def json_call(
    lark: Lark,
    tool: Tool,
    key: str,
    *,
    before: str = "",
    after: str = "",
    name_key: str = "name",
    first: str = "",
) -> str:
    """{"name": …, key: {…}} between these texts; `first` are members that come first."""
    head, tail = f'{{{first}"{name_key}": ', f', "{key}": '
    return (
        f"{lark.text(before + head)} {plain(_quoted(tool.name) + tail)} {arguments(lark, tool)} "
        f"{lark.text('}' + after)}"
    )


def bare_json_call(lark: Lark, tool: Tool, key: str) -> str:
    """The same without surrounding text; spaced like JSON of a schema, since such an answer may begin alike."""
    name, parameters = plain(_quoted(tool.name)), plain(_quoted(key))
    return f'"{{" {plain(_quoted("name"))} {KEY} {name} {ITEM} {parameters} {KEY} {arguments(lark, tool)} "}}"'


def named_call(lark: Lark, tool: Tool, before: str, between: str, after: str) -> str:
    """The name, and the arguments as JSON, between these texts."""
    parts = [lark.text(before), plain(tool.name), lark.text(between), arguments(lark, tool), lark.text(after)]
    return " ".join(part for part in parts if part)


def arguments(lark: Lark, tool: Tool) -> str:
    """A tool's arguments as one JSON object."""
    return lark.schema({"type": "object", **tool.parameters}, f"the schema of tool {tool.name!r}")


def plain_call(lark: Lark, tool: Tool, start: str, pair: tuple[str, str, str], end: str) -> str:
    """A call whose arguments are written as plain text.

    start and end enclose them, with {} for the tool's name; pair: the texts before each argument's name, between name
    and value, and after the value.
    """
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", [])
    head, _, tail = start.partition("{}")
    parts = [lark.text(head), plain(tool.name), lark.text(tail)]
    before, between, after = pair
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        given = f"{lark.text(before)} {plain(name)} {lark.text(between)} {_plain(lark, tool, name, schema, after)}"
        needed = isinstance(required, list) and name in required
        parts.append(given if needed else f"( {given} )?")
    return " ".join(part for part in [*parts, lark.text(end)] if part)


def _plain(lark: Lark, tool: Tool, name: str, schema: Any, after: str) -> str:
    """An argument's value and the text after it: text unchanged, other values as JSON."""
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        values = schema.get("enum")
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            return f"{either(plain(value) for value in values)} {lark.text(after)}"
        return lark.until(after)
    shared = {key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}
    whole = {**schema, **shared} if isinstance(schema, Mapping) else schema
    return f"{lark.schema(whole, f'argument {name!r} of tool {tool.name!r}')} {lark.text(after)}"


def gemma_call(lark: Lark, tool: Tool, quote: str, before: str, after: str) -> str | None:
    """call:name{key:<quote>text<quote>,…}; None unless all of the tool's arguments are texts, numbers and booleans."""
    properties, required = tool.parameters.get("properties", {}), tool.parameters.get("required", [])
    simple = {"number", "integer", "boolean"}
    pairs: list[tuple[str, bool]] = []
    for name, schema in properties.items() if isinstance(properties, Mapping) else ():
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        if kind == "string":
            value = f"{lark.text(quote)} {lark.until(quote)}"
        elif kind in simple:
            value = lark.schema(schema, f"argument {name!r} of tool {tool.name!r}")
        else:
            return None
        pairs.append((f"{plain(name + ':')} {value}", isinstance(required, list) and name in required))
    kept = [pair for pair, needed in pairs if needed] or [pair for pair, _ in pairs[:1]]
    others = [pair for pair, needed in pairs if pair not in kept]
    inner = ' "," '.join(kept) + "".join(f' ( "," {other} )?' for other in others)
    return f"{lark.text(before)} {plain(f'call:{tool.name}{{')} {inner} {lark.text('}' + after)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
