"""Sizes as people write them (4GB, 512MB, 1.5GiB), read and written."""

import re
from decimal import Decimal

LARGEST_BYTES = 2**60
MAX_MEMORY_BYTES = 2**50
"""The most memory that the daemon or a model may be given."""
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*([kmgtp]i?b?|b)?", re.IGNORECASE | re.ASCII)
_LETTERS = "kmgtp"
# The share of a unit from which on it is used: 0.10 GB says more than 100.0 MB, and 999.999 GB are rounded to 1.00 TB.
_UNITS = (
    ("PB", 1e15, 2, 0.999995),
    ("TB", 1e12, 2, 0.999995),
    ("GB", 1e9, 2, 0.1),
    ("MB", 1e6, 1, 0.1),
    ("kB", 1e3, 1, 0.1),
)


def parse_size(text: str, *, least_bytes: int = 1, most_bytes: int = LARGEST_BYTES) -> int:
    """Bytes of "4GB" or "512 MB" (powers of 1000), "1.5GiB" (of 1024), or plain "2000000000".

    Raises ValueError, which does not repeat the text, for anything else and outside least_bytes to most_bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("give a size such as 4GB, 512MB, 1.5GiB or a number of bytes")
    number, unit = Decimal(match[1]), (match[2] or "b").lower()
    base = 1024 if "i" in unit else 1000
    exact_bytes = number * (1 if unit == "b" else base ** (_LETTERS.index(unit[0]) + 1))
    size_bytes = int(exact_bytes)
    if unit == "b" and size_bytes != exact_bytes:
        raise ValueError(f"give a size in whole bytes; {match[1]}GB may be what you mean")
    if not least_bytes <= size_bytes <= most_bytes:
        raise ValueError(f"give a size from {_exact_text(least_bytes)} to {_exact_text(most_bytes)}")
    return size_bytes


def size_text(size_bytes: float) -> str:
    """A size for people, in decimal units."""
    for unit, unit_bytes, digits, least_share in _UNITS:
        if size_bytes >= unit_bytes * least_share:
            return f"{size_bytes / unit_bytes:.{digits}f} {unit}"
    return f"{size_bytes:.0f} B"


def _exact_text(size_bytes: int) -> str:
    """The size in the largest unit that has a whole number of it: parse_size reads the same size from it."""
    for power in range(len(_LETTERS) if size_bytes else 0, 0, -1):
        for base, infix in ((1000, ""), (1024, "i")):
            if size_bytes % base**power == 0:
                letter = _LETTERS[power - 1]
                return f"{size_bytes // base**power} {letter if base**power == 1000 else letter.upper()}{infix}B"
    return f"{size_bytes} B"
