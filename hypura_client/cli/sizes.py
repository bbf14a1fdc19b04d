"""Sizes as people write them: 4GB, 512MB, 1.5GiB, 25%."""

import re
from dataclasses import dataclass
from decimal import Decimal

_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*([kmgtp]i?b?|b)?", re.IGNORECASE)
_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s*%")
_LETTERS = "kmgtp"
LARGEST_BYTES = 2**60
# From the share on in which a unit is used: 0.10 GB says more than 100.0 MB, and 999.999 GB are rounded to 1.00 TB.
_UNITS = (
    ("PB", 1e15, 2, 0.999995),
    ("TB", 1e12, 2, 0.999995),
    ("GB", 1e9, 2, 0.1),
    ("MB", 1e6, 1, 0.1),
    ("kB", 1e3, 1, 0.1),
)


@dataclass(frozen=True, slots=True)
class WeightCache:
    """How much of the streamable weights may stay in memory; one of the two is set."""

    size_bytes: int | None
    percent: float | None


def parse_size(text: str, *, least_bytes: int = 1) -> int:
    """Bytes of "4GB" or "512 MB" (powers of 1000), "1.5GiB" (of 1024), or plain "2000000000".

    Raises ValueError for anything else, and outside least_bytes to 2^60.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write it as 4GB, 512MB, 1.5GiB or a number of bytes")
    number, unit = Decimal(match[1]), (match[2] or "b").lower()
    base = 1024 if "i" in unit else 1000
    exact_bytes = number * (1 if unit == "b" else base ** (_LETTERS.index(unit[0]) + 1))
    size_bytes = int(exact_bytes)
    if unit == "b" and size_bytes != exact_bytes:
        raise ValueError(f"{text!r} is a part of a byte; did you mean {match[1]}GB?")
    if not least_bytes <= size_bytes <= LARGEST_BYTES:
        raise ValueError(
            f"{text!r} is {size_text(size_bytes)}; it must be {least_bytes} bytes to {size_text(LARGEST_BYTES)}"
        )
    return size_bytes


def parse_weight_cache(text: str) -> WeightCache:
    """A size, or a percentage of the streamable weights. Raises ValueError for anything else."""
    if "%" not in text:
        return WeightCache(parse_size(text, least_bytes=0), None)
    match = _PERCENTAGE.fullmatch(text.strip())
    if match is None or not 0 <= float(match[1]) <= 100:
        raise ValueError(f"{text!r} is no share; write a percentage from 0% to 100%, or a size as 4GB")
    return WeightCache(None, float(match[1]))


def size_text(size_bytes: float) -> str:
    """A size for people, in decimal units."""
    for unit, unit_bytes, digits, least_share in _UNITS:
        if size_bytes >= unit_bytes * least_share:
            return f"{size_bytes / unit_bytes:.{digits}f} {unit}"
    return f"{size_bytes:.0f} B"
