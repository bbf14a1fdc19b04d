"""Converts JSON schemas as clients write them to those that llguidance accepts.

Nothing is expanded: each part is visited once for each way it is used, and targets of `$ref` stay references.

Accepted as clients mean it: a field that is null is absent; an object with properties has no others unless
additionalProperties is given, also where allOf, anyOf or $ref compose it; oneOf is anyOf; nullable;
propertyNames that are an enum or a pattern; items as a list; exclusiveMinimum as true.
Ignored with a warning, as in Ollama: what no grammar can express (NOT_ENFORCED), and counts above the limits.
Refused: what no value can fit, what is not a schema, references out of the document, and what llguidance refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

MAX_DEPTH = 100
MAX_STRING_COUNT = 50_000
"""The longest string whose characters are counted: each is a state of the lexer."""
MAX_MULTIPLE = 1000
MAX_WHOLE = 2**53
"""llguidance reads bounds as 64-bit floats, which are exact up to here."""
_SMALLEST = 1e-15
_MAX_MESSAGE_CHARACTERS = 80

NOT_ENFORCED = (
    "uniqueItems", "contains", "minContains", "maxContains", "dependentRequired", "dependentSchemas", "dependencies",
    "if", "then", "else", "not", "unevaluatedItems", "unevaluatedProperties", "contentSchema",
)  # fmt: skip
"""What no grammar can express."""
_REFUSED = ("$dynamicRef", "$recursiveRef")
_TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")
_KEYS_OF = {
    "object": ("properties", "additionalProperties", "patternProperties", "propertyNames", "required"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_FORMATS = {
    **{name: name for name in ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")},
    "uri": "uri", "url": "uri",
}  # fmt: skip
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

Json = Any


class SchemaError(ValueError):
    """The schema cannot be enforced; the message says why."""


def convert(schema: Json, pattern_error: Callable[[str], str], *, relaxed: bool = False) -> tuple[Json, list[str]]:
    """The schema as llguidance accepts it, and warnings about what is not enforced.

    pattern_error: why a regular expression cannot be enforced, empty if it can. relaxed: without what llguidance
    accepts in some schemas and not in others. Raises SchemaError.
    """
    if _depth(schema) > MAX_DEPTH:
        raise SchemaError(f"it nests deeper than {MAX_DEPTH}; make it flatter")
    return _Converter(schema, pattern_error, relaxed=relaxed).convert()


class _Converter:
    """Of one schema. A target of $ref is converted once closed, as a whole value, and once open, as a part of one."""

    def __init__(self, root: Json, pattern_error: Callable[[str], str], *, relaxed: bool) -> None:
        self._root = root
        self._pattern_error = pattern_error
        self._relaxed = relaxed
        self._warnings: dict[str, None] = {}
        self._names: dict[tuple[str, bool], str] = {}
        self._unvisited: list[tuple[str, Json, bool]] = []

    def convert(self) -> tuple[Json, list[str]]:
        schema = self._value(self._root, closed=True)
        if schema is False:
            raise SchemaError("it allows no value")
        whole = dict(schema) if isinstance(schema, dict) else {}
        definitions: dict[str, Json] = {}
        while self._unvisited:
            name, target, closed = self._unvisited.pop()
            definitions[name] = self._value(target, closed=closed)
        if definitions:
            whole["$defs"] = definitions
        return whole, list(self._warnings)

    def _value(self, schema: Json, *, closed: bool) -> Json:
        """One schema. closed: it describes a whole value, so its objects have no other properties than it names."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{_short(schema)} is not a schema; give an object")
        given = {key: value for key, value in schema.items() if value is not None or key == "const"}
        if given.get("not") in ({}, True):
            return False
        for key in _REFUSED:
            if key in given:
                raise SchemaError(f"{key!r} is not supported; use $ref")
        for key in NOT_ENFORCED:
            if key in given and given[key] is not False:
                self._warn(f"{key} is not enforced")
        own = self._own(given)
        parts = self._parts(given, own, closed=closed)
        nullable = given.get("nullable") is True
        if parts is False or any(part is False for part in parts):
            return {"type": "null"} if nullable else False
        whole = parts[0] if len(parts) == 1 else {"allOf": parts} if parts else {}
        return {"anyOf": [whole, {"type": "null"}]} if nullable else whole

    def _parts(self, given: dict[str, Json], own: dict[str, Json], *, closed: bool) -> Any:
        """Schemas that must all hold: its own keywords, and those of $ref, allOf, anyOf and oneOf."""
        pieces = len(_list(given, "allOf")) + bool(own) + sum(key in given for key in ("$ref", "anyOf", "oneOf"))
        alone = pieces <= 1
        shut = closed and alone
        parts: list[Json] = []
        if own:
            self._close(own, closed=shut)
            parts.append(own)
        if "$ref" in given:
            parts.append(self._reference(given["$ref"], closed=shut))
        parts += [self._value(part, closed=shut) for part in _list(given, "allOf")]
        unions = [key for key in ("anyOf", "oneOf") if key in given]
        names: dict[str, None] = {}
        if closed and not alone:
            base = {key: value for key, value in given.items() if key not in unions}
            names = self._properties(base) if len(unions) == 1 else self._properties(given)
        for key in unions:
            ways = []
            for way in _list(given, key, least=1):
                read = self._value(way, closed=shut)
                if read is False:
                    continue
                if closed and not alone and len(unions) == 1:
                    ways.append(_both(read, self._closing({**names, **self._properties(way)}, given, way)))
                else:
                    ways.append(read)
            if not ways:
                return False
            parts.append(ways[0] if len(ways) == 1 else {"anyOf": ways})
        if closed and not alone and len(unions) != 1:
            closing = self._closing(names, given)
            if closing:
                parts.append(closing)
        return parts

    def _own(self, given: dict[str, Json]) -> dict[str, Json]:
        """The schema's own keywords, without those that refer to other schemas; empty if there are none."""
        own: dict[str, Json] = {}
        types = _types(given)
        values = [given["const"]] if "const" in given else given.get("enum")
        if values is not None:
            if not isinstance(values, list) or not values:
                raise SchemaError("enum must be a list of values")
            fitting = [value for value in values if types is None or _is_one_of(value, types)]
            if not fitting:
                raise SchemaError(f"no value of the enum {_short(values)} is of the type {given['type']!r}")
            return {"enum": fitting}
        if types is None:
            implied = [name for name, keys in _KEYS_OF.items() if any(key in given for key in keys)]
            types = tuple(implied[:1])
        if types:
            own["type"] = types[0] if len(types) == 1 else list(types)
        if {"number", "integer"} & set(types):
            self._number(given, own)
        if "string" in types:
            self._string(given, own)
        if "array" in types:
            self._array(given, own)
        if "object" in types:
            self._object(given, own)
        return own

    def _number(self, given: dict[str, Json], own: dict[str, Json]) -> None:
        bounds = {key: _bound(key, given[key]) for key in _BOUNDS if key in given}
        for key, open_key in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if bounds.get(open_key) is True and key in bounds:  # before draft 6
                bounds[open_key] = bounds.pop(key)
            if isinstance(bounds.get(open_key), bool):
                del bounds[open_key]
        for key, value in bounds.items():
            lower = "inimum" in key
            if abs(value) > MAX_WHOLE:
                if (value > 0) == lower:
                    raise SchemaError(f"{key} is {_short(value)}, beyond the numbers that can be enforced (2^53)")
                self._warn(f"{key} {_short(value)} is not enforced")
                continue
            if 0 < abs(value) < _SMALLEST:
                self._warn(f"{key} {_short(value)} is treated as 0")
                key, value = ("exclusiveMinimum" if value > 0 else "minimum") if lower else (
                    "exclusiveMaximum" if value < 0 else "maximum"), 0  # fmt: skip
            own[key] = value
        low = max((own[key] for key in ("minimum", "exclusiveMinimum") if key in own), default=-math.inf)
        high = min((own[key] for key in ("maximum", "exclusiveMaximum") if key in own), default=math.inf)
        if low > high:
            raise SchemaError(f"no number lies between its bounds {_short(low)} and {_short(high)}")
        multiple = given.get("multipleOf")
        if multiple is None:
            return
        if isinstance(multiple, bool) or not isinstance(multiple, int | float) or not 0 < multiple < math.inf:
            raise SchemaError(f"multipleOf is {_short(multiple)}; give a number above 0")
        if multiple > MAX_MULTIPLE or multiple < _SMALLEST or self._relaxed:
            self._warn(f"multipleOf {_short(multiple)} is not enforced")
            if isinstance(multiple, int) and own["type"] == "number":
                own["type"] = "integer"
            return
        own["multipleOf"] = multiple

    def _string(self, given: dict[str, Json], own: dict[str, Json]) -> None:
        low, high = _count(given, "minLength"), _count(given, "maxLength")
        _in_order("minLength", low, "maxLength", high)
        pattern, form = _text(given, "pattern"), _FORMATS.get(_text(given, "format"), "")
        if _text(given, "format") and not form:
            self._warn(f"the format {_text(given, 'format')[:40]!r} is not enforced")
        if pattern:
            reason = self._pattern_error(pattern)
            if reason and not form:
                raise SchemaError(f"the pattern {_short(pattern)} cannot be enforced: {reason}")
            if reason:
                self._warn(f"the pattern {_short(pattern)} is not enforced beside its format: {reason}")
                pattern = ""
        if pattern:
            own["pattern"] = pattern
        elif form:
            own["format"] = form
        if (pattern or form) and self._relaxed and (low or high is not None):
            self._warn("minLength and maxLength are not enforced beside a pattern or a format")
            return
        if low and low > MAX_STRING_COUNT:
            raise SchemaError(f"minLength is {low}; at most {MAX_STRING_COUNT} characters can be counted")
        if low:
            own["minLength"] = low
        if high is not None and high > MAX_STRING_COUNT:
            self._warn(f"maxLength {_short(high)} is not enforced; {MAX_STRING_COUNT} characters are counted")
        elif high is not None:
            own["maxLength"] = high

    def _array(self, given: dict[str, Json], own: dict[str, Json]) -> None:
        items, prefix = given.get("items"), given.get("prefixItems")
        if isinstance(items, list):  # before draft 2020-12
            prefix, items = items, given.get("additionalItems")
        if prefix is not None:
            if not isinstance(prefix, list):
                raise SchemaError("prefixItems must be a list of schemas")
            own["prefixItems"] = [self._value(part, closed=True) for part in prefix]
            items = False if items is None and prefix else items
        if items is not None:
            own["items"] = self._value(items, closed=True)
        low, high = _count(given, "minItems"), _count(given, "maxItems")
        _in_order("minItems", low, "maxItems", high)
        if own.get("items") is False and low and low > len(own.get("prefixItems", [])):
            raise SchemaError(f"minItems is {low}, but only {len(own.get('prefixItems', []))} items are described")
        own.update({key: value for key, value in (("minItems", low), ("maxItems", high)) if value is not None})

    def _object(self, given: dict[str, Json], own: dict[str, Json]) -> None:
        properties, required = given.get("properties", {}), given.get("required", [])
        if not isinstance(properties, Mapping):
            raise SchemaError("properties must be an object of schemas")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            if isinstance(given.get("required"), bool):  # before draft 4
                required = []
            else:
                raise SchemaError("required must be a list of names")
        patterns = given.get("patternProperties", {})
        if not isinstance(patterns, Mapping):
            raise SchemaError("patternProperties must be an object of schemas")
        for pattern in patterns:
            reason = self._pattern_error(pattern)
            if reason:
                raise SchemaError(f"the pattern {_short(pattern)} of patternProperties cannot be enforced: {reason}")
        known = {name: self._value(part, closed=True) for name, part in properties.items() if part is not None}
        for name in required:
            if known.get(name) is False:
                raise SchemaError(f"the property {_short(name)} is required and allows no value")
        known |= {name: True for name in required if name not in known}
        if known:
            own["properties"] = known
        if required:
            own["required"] = list(dict.fromkeys(required))
        values = {pattern: self._value(part, closed=True) for pattern, part in patterns.items()}
        extra = given.get("additionalProperties")
        extra = None if extra is None else self._value(extra, closed=True)
        extra = self._named(given.get("propertyNames"), values, extra)
        if self._relaxed and len(values) > 1:
            self._warn("which names of patternProperties have which values is not enforced")
            ways = [*values.values(), *([extra] if extra not in (None, False) else [])]
            values, extra = {}, {"anyOf": ways}
        if values:
            own["patternProperties"] = values
        if extra is not None:
            own["additionalProperties"] = extra
        counts = {key: _count(given, key) for key in ("minProperties", "maxProperties")}
        _in_order("minProperties", counts["minProperties"], "maxProperties", counts["maxProperties"])
        for key, value in counts.items():
            if value is not None and self._relaxed:
                self._warn(f"{key} is not enforced")
            elif value is not None:
                own[key] = value

    def _named(self, names: Json, values: dict[str, Json], extra: Json) -> Json:
        """additionalProperties beside a propertyNames, which is added to `values` as a pattern."""
        if names in (None, True, {}) or extra is False:
            return extra
        if not isinstance(names, Mapping):
            raise SchemaError("propertyNames must be a schema")
        listed = names.get("enum", [names["const"]] if "const" in names else None)
        if isinstance(listed, list) and listed and all(isinstance(name, str) for name in listed):
            pattern = f"^({'|'.join(map(_escaped, listed))})$"
        elif isinstance(names.get("pattern"), str) and not self._pattern_error(names["pattern"]):
            pattern = names["pattern"]
        else:
            if set(names) - {"type", "title", "description"}:
                self._warn("propertyNames is not enforced")
            return extra
        values[pattern] = True if extra is None else extra
        return False

    def _close(self, own: dict[str, Json], *, closed: bool) -> None:
        """Close an object to other properties than it names; a part of one leaves that to the whole."""
        if closed and ("properties" in own or "patternProperties" in own):
            own.setdefault("additionalProperties", False)
        if not closed and own.get("additionalProperties") is False and "patternProperties" not in own:
            del own["additionalProperties"]

    def _closing(self, names: Iterable[str], *sources: Json) -> dict[str, Json]:
        """A part that excludes other properties than these; empty where one of the sources allows others."""
        named = dict.fromkeys(names, True)
        if not named or any(self._is_open(source) for source in sources):
            return {}
        return {"properties": named, "additionalProperties": False}

    def _is_open(self, schema: Json) -> bool:
        return any(
            isinstance(part, Mapping)
            and (part.get("additionalProperties") not in (None, False) or part.get("patternProperties"))
            for part in self._reached(schema)
        )

    def _properties(self, schema: Json) -> dict[str, None]:
        """The names of properties in all schemas that must hold for a value."""
        names: dict[str, None] = {}
        for part in self._reached(schema):
            for key in ("properties", "required"):
                if isinstance(part.get(key), Mapping | list):
                    names.update(dict.fromkeys(name for name in part[key] if isinstance(name, str)))
        return names

    def _reached(self, schema: Json) -> Iterable[Mapping[str, Json]]:
        """The schema, and those that compose it, in their order."""
        unvisited, seen = [schema], set()
        while unvisited:
            part = unvisited.pop()
            if not isinstance(part, Mapping):
                continue
            yield part
            for key in ("oneOf", "anyOf", "allOf"):
                if isinstance(part.get(key), list):
                    unvisited += reversed(part[key])
            reference = part.get("$ref")
            if isinstance(reference, str) and reference not in seen:
                seen.add(reference)
                unvisited.append(self._target(reference))

    def _reference(self, reference: Json, *, closed: bool) -> Json:
        target = self._target(reference)
        name = self._names.get((reference, closed))
        if name is None:
            name = self._names[reference, closed] = f"d{len(self._names)}"
            self._unvisited.append((name, target, closed))
        return {"$ref": f"#/$defs/{name}"}

    def _target(self, reference: Json) -> Json:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise SchemaError(f"the $ref {_short(reference)} points out of the schema; put its target into $defs")
        target = self._root
        for step in unquote(reference).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdecimal() and len(step) < 9 and int(step) < len(target):
                target = target[int(step)]
            else:
                raise SchemaError(f"the $ref {_short(reference)} has no target; {_short(step)} does not exist")
        return target

    def _warn(self, warning: str) -> None:
        self._warnings[warning] = None


def _both(schema: Json, other: dict[str, Json]) -> Json:
    return {"allOf": [schema, other]} if other else schema


def _list(given: Mapping[str, Json], key: str, least: int = 0) -> list[Json]:
    value = given.get(key, [])
    if not isinstance(value, list) or len(value) < least:
        raise SchemaError(f"{key} must be a list of schemas")
    return value


def _types(given: Mapping[str, Json]) -> tuple[str, ...] | None:
    """The types that the schema allows; None for all."""
    if "type" not in given:
        return None
    value = given["type"]
    types = [value] if isinstance(value, str) else value
    if not isinstance(types, list) or not types or not all(isinstance(name, str) and name in _TYPES for name in types):
        raise SchemaError(f"the type {_short(value)} is not one of {', '.join(_TYPES)}")
    return tuple(dict.fromkeys(types))


def _bound(key: str, value: Json) -> int | float | bool:
    if isinstance(value, bool) and key.startswith("exclusive"):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**300:
        raise SchemaError(f"{key} has {len(str(abs(value)))} digits; give a number below 2^53")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SchemaError(f"{key} is {_short(value)}; give a number")
    return value


def _count(given: Mapping[str, Json], key: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15 or value != int(value):
        raise SchemaError(f"{key} is {_short(value)}; give a whole number from 0")
    return int(value)


def _in_order(low_key: str, low: int | None, high_key: str, high: int | None) -> None:
    if low is not None and high is not None and low > high:
        raise SchemaError(f"{low_key} {low} is above {high_key} {high}")


def _text(given: Mapping[str, Json], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise SchemaError(f"{key} is {_short(value)}; give text")
    return value


def _is_one_of(value: Json, types: tuple[str, ...]) -> bool:
    match value:
        case None:
            return "null" in types
        case bool():
            return "boolean" in types
        case int():
            return "integer" in types or "number" in types
        case float():
            return "number" in types or ("integer" in types and value.is_integer())
        case str():
            return "string" in types
        case list():
            return "array" in types
        case _:
            return "object" in types


def _escaped(text: str) -> str:
    """The text as a regular expression, in the syntax that Rust and ECMAScript share."""
    return "".join(c if c.isalnum() or c in " _-" else f"\\{c}" if c in "\\^$.|?*+()[]{}/" else c for c in text)


def _depth(value: Json) -> int:
    """How deep the value nests; without recursion, which too deep a value would overflow."""
    deepest, unvisited = 0, [(value, 1)]
    while unvisited:
        part, depth = unvisited.pop()
        deepest = max(deepest, depth)
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        unvisited += [(child, depth + 1) for child in inner if isinstance(child, dict | list)]
    return deepest


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else f"{text[:_MAX_MESSAGE_CHARACTERS]}…"
