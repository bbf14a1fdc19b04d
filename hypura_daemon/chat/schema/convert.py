"""JSON schemas into grammars that make JSON of them.

Enforced: types, properties in the schema's order, required, additionalProperties, patternProperties,
propertyNames, items, prefixItems, counts of items, enum, const, anyOf, oneOf (as anyOf), allOf, nullable,
$ref within the schema (also to itself), lengths, patterns and formats of strings, bounds of numbers.
An object with properties has no others unless additionalProperties is given, as models are used to.
Left to the reader of the answer, as no grammar can say it: uniqueItems, multipleOf, contains,
dependentRequired, minProperties and maxProperties beside properties, a length beside a pattern.
Refused: not, if, references to other documents, and what no value fits.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from hypura_daemon.chat.gbnf import Grammar, either, literal
from hypura_daemon.chat.schema.keywords import count, limit, number, text
from hypura_daemon.chat.schema.merging import Schema, Unsatisfiable, binding, merged, types_of
from hypura_daemon.chat.schema.numbers import ANY_NUMBER
from hypura_daemon.chat.schema.strings import any_string, other_string, string
from hypura_daemon.errors import InvalidRequest

MAX_SCHEMA_CHARACTERS = 1 << 18
_MAX_WAYS = 256
_REFUSED = ("not", "if", "unevaluatedItems", "dependentSchemas", "$dynamicRef", "$recursiveRef")
_KEYS_OF = {
    "object": ("properties", "additionalProperties", "patternProperties", "propertyNames", "required"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def read_schema(source: str, what: str = "the JSON schema") -> Any:
    """The schema out of its text. Raises InvalidRequest."""
    if len(source) > MAX_SCHEMA_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(source)} characters; {MAX_SCHEMA_CHARACTERS} are allowed")
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{what} is no valid JSON: {error}") from error
    if not isinstance(schema, Mapping | bool):
        raise InvalidRequest(f"{what} is {source[:80]!r}; give a JSON object")
    return schema


def schema_rule(grammar: Grammar, schema: Any, what: str = "the JSON schema") -> str:
    """The name of a rule for the JSON values that fit the schema. Raises InvalidRequest, naming what is wrong."""
    try:
        return _Conversion(grammar, schema).value(schema, "root")
    except RecursionError as error:
        raise InvalidRequest(f"{what} nests too deep; make it flatter") from error
    except InvalidRequest as error:
        raise InvalidRequest(f"{what} cannot be enforced: {error}") from error


def any_object(grammar: Grammar) -> str:
    """A rule for any JSON object."""
    return schema_rule(grammar, {"type": "object"})


class _Conversion:
    """One schema; `$ref`s are looked up in it.

    _known: the rule of each schema, by its JSON; one that is still being made is referred to by its
    name, which is how schemas that contain themselves work. _open: those without any JSON of their own
    so far; coming back to one of them would never end.
    """

    def __init__(self, grammar: Grammar, root: Any) -> None:
        self._grammar = grammar
        self._root = root
        self._known: dict[str, str] = {}
        self._open: list[str] = []

    def value(self, schema: Any, hint: str) -> str:
        """The name of the schema's rule."""
        if schema is False:
            raise Unsatisfiable("it allows no value")
        if schema is True:
            schema = {}
        if not isinstance(schema, Mapping):
            raise InvalidRequest(f"{str(schema)[:80]!r} is no schema; give an object")
        key = json.dumps(binding(schema), sort_keys=True)
        if key in self._open:
            raise Unsatisfiable("it refers to itself without end")
        if key in self._known:
            return self._known[key]
        before = len(self._known)
        name = self._known[key] = self._grammar.reserve(hint)
        self._open.append(key)
        try:
            return self._grammar.define(name, self._body(self._plain(schema), hint))
        except Unsatisfiable:
            for late in list(self._known)[before:]:  # they may refer to this one
                del self._known[late]
            raise
        finally:
            self._open.remove(key)

    def _within(self, schema: Any, hint: str) -> str:
        """The rule of a part that stands behind some JSON of the whole."""
        opened, self._open = self._open, []
        try:
            return self.value(schema, hint)
        finally:
            self._open = opened

    def _plain(self, schema: Schema, depth: int = 0) -> dict[str, Any]:
        """The schema with its $ref and allOf put in."""
        if depth > 64:
            raise Unsatisfiable("it refers to itself without end")
        plain = binding(schema)
        reference, parts = plain.pop("$ref", None), plain.pop("allOf", [])
        if not isinstance(parts, list):
            raise InvalidRequest("allOf must be a list of schemas")
        if reference is not None:
            parts = [self._referred(reference), *parts]
        whole: dict[str, Any] = {}
        for part in parts:
            if part is False:
                raise Unsatisfiable("it allows no value")
            if not isinstance(part, Mapping | bool):
                raise InvalidRequest(f"{str(part)[:80]!r} is no schema; give an object")
            whole = merged(whole, self._plain(part, depth + 1)) if isinstance(part, Mapping) else whole
        return merged(whole, plain)

    def _referred(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise InvalidRequest(
                f"the $ref {str(reference)[:100]!r} points out of the schema; put its target into $defs"
            )
        target = self._root
        for step in unquote(reference).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                raise InvalidRequest(f"the $ref {reference[:100]!r} leads nowhere; {step[:40]!r} is not there")
        return target

    def _body(self, schema: dict[str, Any], hint: str) -> str:
        if schema.get("not") in ({}, True):
            raise Unsatisfiable("it allows no value")
        for key in _REFUSED:
            if key in schema:
                raise InvalidRequest(f"{key!r} is not possible in a grammar; leave it out")
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._any_of(schema, key, hint)
        if schema.pop("nullable", False):
            return self._either([schema, {"type": "null"}], hint)
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]
        if "enum" in schema:
            return _enum(schema)
        types = types_of(schema)
        if types is None:
            guessed = [name for name, keys in _KEYS_OF.items() if any(key in schema for key in keys)]
            types = frozenset(guessed[:1])
        if not types:
            return self._anything()
        if len(types) > 1:
            return self._either([{**schema, "type": one} for one in sorted(types)], hint)
        return self._typed(next(iter(types)), schema, hint)

    def _any_of(self, schema: dict[str, Any], key: str, hint: str) -> str:
        ways = schema.pop(key)
        if not isinstance(ways, list) or not ways or len(ways) > _MAX_WAYS:
            raise InvalidRequest(f"{key} must be a list of 1 to {_MAX_WAYS} schemas")
        return self._either([{"allOf": [way, schema]} for way in ways] if schema else ways, hint)

    def _either(self, ways: Sequence[Any], hint: str) -> str:
        """What fits one of the schemas; those that nothing fits are passed over."""
        names, failure = [], Unsatisfiable("no value fits it")
        for way in ways:
            try:
                names.append(self.value(way, hint))
            except Unsatisfiable as error:
                failure = error
        if not names:
            raise failure
        return " | ".join(dict.fromkeys(names))

    def _typed(self, kind: str, schema: dict[str, Any], hint: str) -> str:
        match kind:
            case "null":
                return '"null"'
            case "boolean":
                return '"true" | "false"'
            case "string":
                low, high = count(schema, "minLength", 0), limit(schema, "maxLength")
                if high is not None and low > high:
                    raise Unsatisfiable(f"minLength {low} is above maxLength {high}")
                return string(self._grammar, text(schema, "pattern"), text(schema, "format"), low, high)
            case "integer" | "number":
                return number(schema, whole=kind == "integer")
            case "array":
                return self._array(schema, hint)
            case _:
                return self._object(schema, hint)

    def _array(self, schema: dict[str, Any], hint: str) -> str:
        items, prefix = schema.get("items", True), schema.get("prefixItems", [])
        if isinstance(items, list):  # before draft 2020-12
            prefix, items = items, schema.get("additionalItems", False)
        elif prefix and "items" not in schema:
            items = False
        if not isinstance(prefix, list):
            raise InvalidRequest("prefixItems must be a list of schemas")
        low, high = count(schema, "minItems", 0), limit(schema, "maxItems")
        if high is not None and low > high:
            raise Unsatisfiable(f"minItems {low} is above maxItems {high}")
        space = self._grammar.space()
        comma = f'{space} "," {space}'
        first = [self._within(part, f"{hint}-item") for part in prefix[:high]]
        rest = "" if high is not None and high <= len(first) else self._rest(items, low - len(first), hint)
        if items is False and low > len(first):
            raise Unsatisfiable(f"minItems is {low}, but only {len(first)} items are described")
        if not first:
            if not rest:
                return f'"[" {space} "]"'
            more = self._grammar.add(f"{hint}-more", f"{comma} {rest}")
            least, most = max(low, 1), high
            many = self._grammar.repeated(more, least - 1, None if most is None else most - 1)
            filled = f'"[" {space} {rest} {many} {space} "]"'
            return filled if low else f'"[" {space} "]" | {filled}'
        inner = f" {comma} ".join(first)
        if rest:
            more = self._grammar.add(f"{hint}-more", f"{comma} {rest}")
            most = None if high is None else high - len(first)
            inner += " " + self._grammar.repeated(more, max(0, low - len(first)), most)
        return f'"[" {space} {inner} {space} "]"'

    def _rest(self, items: Any, least: int, hint: str) -> str:
        """The rule of items without a place of their own; empty if there can be none."""
        try:
            return self._within(items, f"{hint}-item") if items is not False else ""
        except Unsatisfiable:
            if least > 0:
                raise
            return ""

    def _object(self, schema: dict[str, Any], hint: str) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not all(isinstance(name, str) for name in properties):
            raise InvalidRequest("properties must be an object of schemas")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise InvalidRequest("required must be a list of names")
        properties = {**properties, **{name: True for name in required if name not in properties}}
        pairs: list[tuple[str, bool]] = []
        for name, part in properties.items():
            try:
                rule = self._within(part, f"{hint}-{name}")
            except Unsatisfiable:
                if name in required:
                    raise
                continue
            key = literal(json.dumps(name, ensure_ascii=False))
            pairs.append((self._grammar.add(f"{hint}-{name}-pair", self._pair(key, rule)), name in required))
        return self._members(pairs, self._extra(schema, frozenset(properties), hint), schema, hint)

    def _pair(self, key: str, rule: str) -> str:
        return f'{key} ":" {self._grammar.space()} {rule}'

    def _extra(self, schema: dict[str, Any], names: frozenset[str], hint: str) -> str:
        """The rule of a member whose name is not among the properties; empty if there can be none."""
        patterns, name_schema = schema.get("patternProperties", {}), schema.get("propertyNames")
        if not isinstance(patterns, Mapping):
            raise InvalidRequest("patternProperties must be an object of schemas")
        ways = []
        for pattern, part in patterns.items():
            key = string(self._grammar, pattern, "", 0, None)
            ways.append(self._pair(key, self._within(part, f"{hint}-value")))
        value = schema.get("additionalProperties", not names and not patterns)
        if value is not False:
            key = other_string(self._grammar, names)
            if name_schema not in (None, True, {}):
                if not isinstance(name_schema, Mapping):
                    raise InvalidRequest("propertyNames must be a schema")
                key = self._within({"type": "string", **name_schema}, f"{hint}-name")
            try:
                ways.append(self._pair(key, self._within(value, f"{hint}-value")))
            except Unsatisfiable:
                pass
        return self._grammar.add(f"{hint}-extra", " | ".join(ways)) if ways else ""

    def _members(self, pairs: list[tuple[str, bool]], extra: str, schema: dict[str, Any], hint: str) -> str:
        """An object: `rest` is what may follow a member, made from the last one backwards."""
        space = self._grammar.space()
        comma = f'{space} "," {space}'
        empty = f'"{{" {space} "}}"'
        low, high = count(schema, "minProperties", 0), limit(schema, "maxProperties")
        if not pairs:
            if not extra or high == 0:
                return empty
            more = self._grammar.add(f"{hint}-more", f"{comma} {extra}")
            many = self._grammar.repeated(more, max(low, 1) - 1, None if high is None else high - 1)
            filled = f'"{{" {space} {extra} {many} {space} "}}"'
            return filled if low else f"{empty} | {filled}"
        rest = self._grammar.add(f"{hint}-rest", f"( {comma} {extra} )*") if extra else ""
        firsts = [extra + (f" {rest}" if rest else "")] if extra else []
        for pair, needed in reversed(pairs):
            begun = f"{pair} {rest}".strip()
            firsts = [begun] if needed else [begun, *firsts]
            follows = f"{comma} {begun}"
            rest = self._grammar.add(
                f"{hint}-rest", follows if needed else f"{follows} | {rest}" if rest else f"( {follows} )?"
            )
        filled = f'"{{" {space} {either(firsts)} {space} "}}"'
        return filled if low or any(needed for _, needed in pairs) else f"{empty} | {filled}"

    def _anything(self) -> str:
        """Any JSON value."""
        grammar = self._grammar

        def make() -> str:
            space, words = grammar.space(), any_string(grammar)
            name = grammar.reserve("any-value")
            comma = f'{space} "," {space}'
            member = grammar.add("any-member", f'{words} ":" {space} {name}')
            listed = f'"[" {space} ( {name} ( {comma} {name} )* {space} )? "]"'
            held = f'"{{" {space} ( {member} ( {comma} {member} )* {space} )? "}}"'
            return grammar.define(name, f'{held} | {listed} | {words} | {ANY_NUMBER} | "true" | "false" | "null"')

        return grammar.made("any-value", make)


def _enum(schema: dict[str, Any]) -> str:
    values, types = schema["enum"], types_of(schema)
    if not isinstance(values, list) or not values:
        raise InvalidRequest("enum must be a list of values")
    fitting = [value for value in values if types is None or _is_one_of(value, types)]
    if not fitting:
        raise Unsatisfiable(f"no value of the enum {str(values)[:80]} is of the type {schema['type']}")
    return either(literal(json.dumps(value, ensure_ascii=False)) for value in fitting)


def _is_one_of(value: Any, types: frozenset[str]) -> bool:
    match value:
        case None:
            return "null" in types
        case bool():
            return "boolean" in types
        case int():
            return bool(types & {"integer", "number"})
        case float():
            return "number" in types or ("integer" in types and value.is_integer())
        case str():
            return "string" in types
        case list():
            return "array" in types
        case _:
            return "object" in types
