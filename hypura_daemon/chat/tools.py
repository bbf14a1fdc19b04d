"""The tools that a request offers, and their arguments as models write them, converted by the tools' schemas."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypura_daemon.chat.parts import Kind, Part
from hypura_daemon.errors import InvalidRequest

_NAME_KEYS = ("name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool's name, and the JSON schema of its arguments."""

    name: str
    parameters: Mapping[str, Any]

    def schema_of(self, parameter: str) -> Any:
        """The schema of one argument; {}, which allows any value, if the tool does not describe it."""
        properties = self.parameters.get("properties")
        return properties.get(parameter, {}) if isinstance(properties, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The offered tools, in their order."""

    tools: tuple[Tool, ...] = ()
    by_name: Mapping[str, Tool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tools)

    def argument(self, tool: str, parameter: str, text: str) -> Any:
        """The value of an argument written as plain text: that text if the tool expects text, else parsed as JSON."""
        known = self.by_name.get(tool)
        types = _types(known.schema_of(parameter)) if known else frozenset()
        if "null" in types and text.strip() == "null":
            return None
        if "string" in types or (not types and known is None):
            return text
        value = text.strip()
        if "boolean" in types and value in ("True", "False"):
            value = value.lower()
        try:
            return loads(value)
        except ValueError:
            return text


def toolbox(tools: Iterable[Mapping[str, Any]]) -> Toolbox:
    """The tools from OpenAI's format. Raises InvalidRequest."""
    found = []
    for number, tool in enumerate(tools, start=1):
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            raise InvalidRequest(
                f"tool {number} is {json.dumps(tool)[:80]}; "
                'give {"type": "function", "function": {"name", "parameters"}}'
            )
        parameters = function.get("parameters") or {}
        if not isinstance(parameters, Mapping):
            raise InvalidRequest(f"the parameters of tool {name!r} are not a JSON schema; give an object")
        found.append(Tool(name, parameters))
    return Toolbox(tuple(found), {tool.name: tool for tool in found})


def loads(text: str) -> Any:
    """Parse JSON as models write it, with line breaks in strings. Raises ValueError."""
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def call(name: str, arguments: Mapping[str, Any]) -> Part:
    """The part of an answer for a call. Lone surrogates, which UTF-8 cannot encode, become U+FFFD."""
    text = json.dumps(arguments, ensure_ascii=False)
    return Part(Kind.CALL, _without_surrogates(text), _without_surrogates(name))


def json_calls(value: Any) -> list[Part]:
    """The calls in an object {"name", "arguments"}, or in a list of such, under the keys that models use.

    Empty if it is anything else.
    """
    values = value if isinstance(value, list) else [value]
    calls = [_json_call(one) for one in values]
    return [one for one in calls if one is not None] if all(calls) else []


def _json_call(value: Any) -> Part | None:
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    if isinstance(inner, Mapping):
        return _json_call(inner)
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")
    arguments = next((value[key] for key in _ARGUMENT_KEYS if key in value), None)
    if isinstance(arguments, str):
        try:
            arguments = loads(arguments) if arguments.strip() else {}
        except ValueError:
            return None
    if not name or not isinstance(arguments, Mapping | None):
        return None
    return call(name, arguments or {})


def _types(schema: Any) -> frozenset[str]:
    """The types that a schema names, within its alternatives too."""
    if not isinstance(schema, Mapping):
        return frozenset()
    given = schema.get("type")
    types = {given} if isinstance(given, str) else set(given) if isinstance(given, list) else set()
    if not types and isinstance(schema.get("enum"), list):
        types = {"string"} if all(isinstance(value, str) for value in schema["enum"]) else {"any"}
    for key in ("anyOf", "oneOf", "allOf"):
        for part in schema[key] if isinstance(schema.get(key), list) else ():
            types |= _types(part)
    return frozenset(one for one in types if isinstance(one, str))


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
