"""The functions that a Go template may call, and how its values are compared and written."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

MAX_TEXT_CHARACTERS = 1 << 24
_MAX_WIDTH = 1000
_MAX_CHOICES = 64
_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}
_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>[a-zA-Z%])")


class TemplateValueError(ValueError):
    """A function was called with arguments that it does not take."""


def is_true(value: Any) -> bool:
    """Truth as in Go: zero, nil and empty values are false."""
    return bool(value)


def shown(value: Any) -> str:
    """A value as the template writes it; objects and lists as JSON, as Ollama's types print themselves."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return f"{value:g}"
        case int():
            return str(value)
        case _:
            return to_json(value)


def to_json(value: Any) -> str:
    """JSON as Go's encoding/json writes it: without blanks, and with <, > and & escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) else str(value)


def _equal(left: Any, *others: Any) -> bool:
    return any(_comparable(left) == _comparable(other) for other in others)


def _comparable(value: Any) -> Any:
    """A value for comparison: numbers differ from booleans, and a missing value equals the empty text."""
    if value is None:
        return ""
    return (value, "bool") if isinstance(value, bool) else value


def _less(left: Any, right: Any) -> bool:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        raise TemplateValueError(f"{shown(left)[:40]!r} and {shown(right)[:40]!r} cannot be put in order")
    return bool(left < right)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(value) if isinstance(value, Sequence | Mapping) else 0


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, str) and _is_index(key, len(data := value.encode("utf-8", "surrogatepass"))):
            value = data[key]
        elif isinstance(value, Sequence) and _is_index(key, len(value)):
            value = value[key]
        else:
            raise TemplateValueError(f"there is no element {shown(key)[:40]}")
    return value


def _is_index(key: Any, length: int) -> bool:
    return isinstance(key, int) and not isinstance(key, bool) and 0 <= key < length


def _slice(value: Any, *bounds: Any) -> Any:
    """A slice of a list or text. Text is counted in bytes, and a character cut in two is dropped."""
    if not isinstance(value, str | Sequence):
        raise TemplateValueError("only text and lists have slices")
    items = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    start, end = (*bounds, *(0, len(items))[len(bounds) :])[:2]
    if not _is_index(start, len(items) + 1) or not _is_index(end, len(items) + 1) or start > end:
        raise TemplateValueError(f"there is no slice from {shown(start)[:40]} to {shown(end)[:40]}")
    piece = items[start:end]
    return piece.decode("utf-8", "ignore") if isinstance(piece, bytes) else piece


def _print(*values: Any) -> str:
    """Blanks separate two neighbours of which neither is text."""
    text = ""
    for number, value in enumerate(values):
        between = number and not isinstance(value, str) and not isinstance(values[number - 1], str)
        text += (" " if between else "") + shown(value)
    return text


def _printf(form: Any, *values: Any) -> str:
    waiting = list(values)

    def replaced(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not waiting:
            return f"%!{verb}(MISSING)"
        return _formatted(match, verb, waiting.pop(0))

    return _VERB.sub(replaced, shown(form))


def _formatted(match: re.Match[str], verb: str, value: Any) -> str:
    width, precision = int(match["width"] or 0), match["precision"]
    if width > _MAX_WIDTH or int(precision or 0) > _MAX_WIDTH:
        raise TemplateValueError(f"a width of more than {_MAX_WIDTH} is not possible")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "feEgG" and number:
        text = format(value, f".{precision or (6 if verb in 'feE' else 17)}{verb}") if precision else f"{value:{verb}}"
    elif verb == "d" and number:
        text = str(int(value))
    elif verb in "xXob" and isinstance(value, int) and number:
        text = format(value, verb)
    elif verb == "q":
        text = json.dumps(shown(value), ensure_ascii=False)
    elif verb == "c" and isinstance(value, int) and 0 <= value <= 0x10FFFF:
        text = chr(value)
    else:
        text = shown(value)
        if verb == "s" and precision is not None:
            text = text[: int(precision or 0)]
    if "+" in match["flags"] and number and value >= 0:
        text = "+" + text
    if "-" in match["flags"]:
        return text.ljust(width)
    return text.zfill(width) if "0" in match["flags"] and number else text.rjust(width)


def _today(*form: Any) -> str:
    """Today's date; Ollama takes a format and ignores it."""
    return date.today().isoformat()


def _yesterday(*form: Any) -> str:
    return (date.today() - timedelta(days=1)).isoformat()


def _typescript_type(value: Any) -> str:
    """A JSON schema's type as TypeScript names it."""
    if not isinstance(value, Mapping):
        return "any"
    if isinstance(choices := value.get("anyOf"), list) and choices:
        return " | ".join(_typescript_type(choice) for choice in choices[:_MAX_CHOICES])
    given = value.get("type")
    types = given if isinstance(given, list) else [given]
    return " | ".join(_TYPESCRIPT.get(str(name), "any") for name in types) or "any"


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: not _less(right, left),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: not _less(left, right),
    "not": lambda value: not is_true(value),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(shown(value) for value in values) + "\n",
    "printf": _printf,
    "json": to_json,
    "currentDate": _today,
    "yesterdayDate": _yesterday,
    "toTypeScriptType": _typescript_type,
}
"""`and` and `or` are not here: they evaluate only the operands that they need."""
