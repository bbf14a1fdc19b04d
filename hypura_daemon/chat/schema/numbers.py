"""Numbers between bounds, digit by digit, as GBNF."""

from dataclasses import dataclass
from decimal import Decimal

from hypura_daemon.chat.gbnf import either, literal

_MORE_DIGITS = 15
"""JSON's readers keep 15 to 17 digits."""
_TAIL = f"[0-9]{{0,{_MORE_DIGITS}}}"
_FRACTION = f'( "." [0-9]{{1,{_MORE_DIGITS + 1}}} )?'
ANY_INTEGER = f'"-"? ( "0" | [1-9] {_TAIL} )'
ANY_NUMBER = f"{ANY_INTEGER} {_FRACTION} ( [eE] [-+]? [0-9] [0-9]? )?"


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a range, which it is part of unless it is open."""

    value: Decimal
    open: bool = False


def integers(low: int | None, high: int | None) -> str | None:
    """Whole numbers from low to high; None if there are none."""
    if low is None and high is None:
        return ANY_INTEGER
    ways = []
    if low is None or low < 0:
        below = _naturals(max(1, -high) if high is not None else 1, -low if low is not None else None)
        if below:
            ways.append(f'"-" {below}')
    if high is None or high >= 0:
        above = _naturals(max(0, low) if low is not None else 0, high)
        if above:
            ways.append(above)
    return either(ways) if ways else None


def decimals(low: Bound | None, high: Bound | None) -> str | None:
    """Numbers between the bounds, without exponents; None if there are none."""
    if low is None and high is None:
        return ANY_NUMBER
    zero = Bound(Decimal(0))
    ways = []
    if low is None or low.value < 0:
        least = Bound(-high.value, high.open) if high is not None and high.value < 0 else Bound(Decimal(0), True)
        below = _positive(least, Bound(-low.value, low.open) if low is not None else None)
        if below:
            ways.append(f'"-" {below}')
    if high is None or high.value >= 0:
        above = _positive(low if low is not None and low.value >= 0 else zero, high)
        if above:
            ways.append(above)
    return either(ways) if ways else None


def _naturals(low: int, high: int | None) -> str | None:
    if high is not None and low > high:
        return None
    ways = []
    if low == 0:
        ways.append('"0"')
        low = 1
        if high == 0:
            return ways[0]
    digits = len(str(low))
    if high is None:
        ways.append(_between(str(low), "9" * digits))
        ways.append(f"[1-9] [0-9]{{{digits},{max(digits, _MORE_DIGITS)}}}")
        return either(ways)
    while digits < len(str(high)):
        ways.append(_between(str(low), "9" * digits))
        low = 10**digits
        digits += 1
    ways.append(_between(str(low), str(high)))
    return either(ways)


def _between(low: str, high: str) -> str:
    """Digits from low to high, which are equally many."""
    if not low:
        return '""'
    if low == high:
        return literal(low)
    count = len(low) - 1
    if not low.strip("0") and not high.strip("9"):
        return f"[0-9]{{{count + 1}}}"
    if low[0] == high[0]:
        return f"{literal(low[0])} {_between(low[1:], high[1:])}"
    first, last, ways = int(low[0]), int(high[0]), []
    if low[1:].strip("0"):
        ways.append(f"{literal(low[0])} {_between(low[1:], '9' * count)}")
        first += 1
    if high[1:].strip("9"):
        ways.append(f"{literal(high[0])} {_between('0' * count, high[1:])}")
        last -= 1
    if first <= last:
        ways.append(f"[{first}-{last}]" + (f" [0-9]{{{count}}}" if count else ""))
    return either(ways)


def _positive(low: Bound, high: Bound | None) -> str | None:
    if high is not None and (high.value < low.value or (high.value == low.value and (low.open or high.open))):
        return None
    whole_low, fraction_low = _split(low.value)
    if high is None:
        return either(
            [f"{_natural(whole_low + 1, None)} {_FRACTION}", _joined(whole_low, _at_least(fraction_low, low))]
        )
    whole_high, fraction_high = _split(high.value)
    if whole_low == whole_high:
        fraction = _fraction_between(fraction_low, fraction_high, low, high)
        return _joined(whole_low, fraction) if fraction is not None else None
    ways = [_joined(whole_low, _at_least(fraction_low, low))]
    if whole_high - whole_low > 1:
        ways.append(f"{_natural(whole_low + 1, whole_high - 1)} {_FRACTION}")
    most = _at_most(fraction_high, high)
    if most is not None:
        ways.append(_joined(whole_high, most))
    return either(ways)


def _natural(low: int, high: int | None) -> str:
    return _naturals(low, high) or '""'


def _split(value: Decimal) -> tuple[int, str]:
    """The whole part, and the digits behind the point without closing zeros."""
    whole, _, fraction = format(value, "f").partition(".")
    return int(whole), fraction.rstrip("0")


def _joined(whole: int, fraction: str) -> str:
    return f"{literal(str(whole))} {fraction}"


def _at_least(digits: str, bound: Bound) -> str:
    """A fraction with its point, or none, that is not below the digits."""
    if not digits and not bound.open:
        return _FRACTION
    return f'"." {_digits_from(digits, bound)}'


def _digits_from(digits: str, bound: Bound) -> str:
    digits = digits.rstrip("0")
    if not digits:
        return f'"0"{{0,{_MORE_DIGITS}}} [1-9] {_TAIL}' if bound.open else _TAIL
    ways = [f"{literal(digits[0])} {_digits_from(digits[1:], bound)}"]
    if digits[0] < "9":
        ways.append(f"[{int(digits[0]) + 1}-9] {_TAIL}")
    return either(ways)


def _at_most(digits: str, bound: Bound) -> str | None:
    """A fraction with its point, or none, that is not above the digits; None if there is none."""
    if not digits:
        return None if bound.open else f'( "." "0"{{1,{_MORE_DIGITS}}} )?'
    below = _digits_to(digits, bound)
    return f'( "." {below} )?'


def _digits_to(digits: str, bound: Bound) -> str | None:
    """One digit or more that are not above `digits`."""
    digits = digits.rstrip("0")
    if not digits:
        return None if bound.open else f'"0"{{1,{_MORE_DIGITS}}}'
    ways = []
    if digits[0] > "0":
        ways.append(f"[0-{int(digits[0]) - 1}] {_TAIL}")
    rest = _digits_to(digits[1:], bound)
    if digits[1:] or not bound.open:
        ways.append(literal(digits[0]) + (f" ( {rest} )?" if rest else ""))
    return either(ways)


def _fraction_between(low: str, high: str, least: Bound, most: Bound) -> str | None:
    if not low and not least.open:
        return _at_most(high, most)
    inner = _digits_between(low, high, least, most)
    return f'"." {inner}' if inner else None


def _digits_between(low: str, high: str, least: Bound, most: Bound) -> str | None:
    if not low.strip("0") and not high.strip("0"):
        return None if least.open or most.open else f'"0"{{0,{_MORE_DIGITS}}}'
    first, last = low[:1] or "0", high[:1] or "0"
    if first == last:
        rest = _digits_between(low[1:], high[1:], least, most)
        may_end = not low[1:].strip("0") and not least.open
        if rest is None:
            return None
        return f"{literal(first)} ( {rest} )?" if may_end else f"{literal(first)} {rest}"
    ways = [f"{literal(first)} {_digits_from(low[1:], least)}"]
    if int(last) - int(first) > 1:
        ways.append(f"[{int(first) + 1}-{int(last) - 1}] {_TAIL}")
    rest = _digits_to(high[1:], most)
    if high[1:].rstrip("0") or not most.open:
        ways.append(literal(last) + (f" ( {rest} )?" if rest else ""))
    return either(ways)
