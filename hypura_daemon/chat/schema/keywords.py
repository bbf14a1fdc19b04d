"""What single keywords of a schema say, checked."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypura_daemon.chat.schema.merging import Unsatisfiable
from hypura_daemon.chat.schema.numbers import Bound, decimals, integers
from hypura_daemon.errors import InvalidRequest

_MAX_BOUND = 10**30


def number(schema: dict[str, Any], *, whole: bool) -> str:
    """A number within the schema's bounds."""
    multiple = schema.get("multipleOf")
    whole = whole or (isinstance(multiple, int) and not isinstance(multiple, bool) and multiple > 0)
    low = _bound(schema, "minimum", "exclusiveMinimum", max)
    high = _bound(schema, "maximum", "exclusiveMaximum", min)
    if whole:
        least = None if low is None else math.ceil(low.value) + (low.open and low.value == math.ceil(low.value))
        most = None if high is None else math.floor(high.value) - (high.open and high.value == math.floor(high.value))
        rule = integers(least, most)
    else:
        rule = decimals(low, high)
    if rule is None:
        raise Unsatisfiable("no number lies between its bounds")
    return rule


def _bound(schema: dict[str, Any], key: str, open_key: str, tighter: Callable[..., Decimal]) -> Bound | None:
    bounds = []
    for name, opened in ((key, schema.get(open_key) is True), (open_key, True)):
        value = schema.get(name)
        if value is None or isinstance(value, bool):  # before draft 6, exclusiveMinimum was true or false
            continue
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidRequest(f"{name} is {str(value)[:40]!r}; give a number")
        if abs(value) < _MAX_BOUND:
            bounds.append(Bound(Decimal(repr(value)), opened))
        elif (value > 0) == (tighter is max):
            raise Unsatisfiable(f"{name} is {value:g}, more than numbers are written out for")
    if not bounds:
        return None
    closest = tighter(bound.value for bound in bounds)
    return Bound(closest, any(bound.open for bound in bounds if bound.value == closest))


def count(schema: dict[str, Any], key: str, default: int) -> int:
    """A number of things, from 0."""
    value = limit(schema, key)
    return default if value is None else value


def limit(schema: dict[str, Any], key: str) -> int | None:
    """A number of things, from 0; None if the schema does not say."""
    value = schema.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15 or value != int(value):
        raise InvalidRequest(f"{key} is {str(value)[:40]!r}; give a whole number from 0")
    return int(value)


def text(schema: dict[str, Any], key: str) -> str:
    """A keyword's text; empty if the schema does not have it."""
    value = schema.get(key, "")
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} is {str(value)[:40]!r}; give text")
    return value
