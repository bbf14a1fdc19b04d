"""One schema out of several that must all hold."""

from collections.abc import Mapping
from typing import Any

from hypura_daemon.errors import InvalidRequest

Schema = Mapping[str, Any]
_HIGHEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LOWEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_NOTES = frozenset(
    "title description default examples example deprecated readOnly writeOnly $comment $schema $id $defs definitions "
    "discriminator xml externalDocs markdownDescription".split()
)


class Unsatisfiable(InvalidRequest):
    """No value fits the schema."""


def binding(schema: Schema) -> dict[str, Any]:
    """The schema without its notes for people."""
    return {key: value for key, value in schema.items() if key not in _NOTES}


def types_of(schema: Schema) -> frozenset[str] | None:
    """The types it allows, integer for a number without fraction; None for all."""
    given = schema.get("type")
    if given is None:
        return None
    types = [given] if isinstance(given, str) else given
    known = ("string", "number", "integer", "boolean", "null", "object", "array")
    if not isinstance(types, list) or not all(isinstance(one, str) and one in known for one in types):
        raise InvalidRequest(f"the type {str(given)[:80]!r} is none of {', '.join(known)}")
    return frozenset(types)


def merged(one: Schema, other: Schema) -> dict[str, Any]:
    """A schema for what fits both; neither has a $ref or an allOf at its top. Raises InvalidRequest."""
    result = dict(one)
    for key, value in other.items():
        if key not in result or result[key] == value:
            result[key] = value
            continue
        result[key] = _both(key, result[key], value)
    if "additionalProperties" in result:
        result["additionalProperties"] = _both_values(
            one.get("additionalProperties", True), other.get("additionalProperties", True)
        )
    return result


def _both(key: str, one: Any, other: Any) -> Any:
    if key in _NOTES or key in ("format", "contentEncoding", "contentMediaType"):
        return other
    if key in _HIGHEST and _numbers(one, other):
        return max(one, other)
    if key in _LOWEST and _numbers(one, other):
        return min(one, other)
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        return [*one, *(name for name in other if name not in one)]
    if key in ("properties", "patternProperties") and isinstance(one, Mapping) and isinstance(other, Mapping):
        joined = {name: _both_values(one[name], part) if name in one else part for name, part in other.items()}
        return {**one, **joined}
    if key in ("items", "propertyNames", "additionalProperties"):
        return _both_values(one, other)
    if key == "type":
        return _types(one, other)
    if key == "enum" and isinstance(one, list) and isinstance(other, list):
        return [value for value in one if value in other]
    if key in ("anyOf", "oneOf") and isinstance(one, list) and isinstance(other, list):
        return [{"allOf": [a, b]} for a in one for b in other]
    if key in ("uniqueItems", "multipleOf", "contains", "dependentRequired", "nullable"):
        return other
    raise InvalidRequest(f"two parts of the schema both have {key!r}, as {str(one)[:60]!r} and {str(other)[:60]!r}")


def _both_values(one: Any, other: Any) -> Any:
    if one is True or one == {} or one == other:
        return other
    if other is True or other == {}:
        return one
    if one is False or other is False:
        return False
    return {"allOf": [one, other]}


def _types(one: Any, other: Any) -> list[str]:
    first, second = types_of({"type": one}) or frozenset(), types_of({"type": other}) or frozenset()
    common = set(first & second)
    for this, that in ((first, second), (second, first)):
        if "integer" in this and "number" in that:
            common.add("integer")
    if not common:
        raise Unsatisfiable(f"the types {one!r} and {other!r} exclude each other")
    return sorted(common)


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
