"""Generates the blocking client, hypura_client/sync.py, from the asynchronous one: `python protos/blocking_client.py`.

`make protos` runs it, and tests/client/test_generated.py compares what is committed with what it generates.
"""

import re
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "hypura_client" / "client.py"
TARGET = SOURCE.with_name("sync.py")
REPLACEMENTS = (
    (
        "sync.py is generated from this file by `make protos`.",
        "Generated from client.py by `make protos`; change that.",
    ),
    (", for asyncio", ", blocking"),
    ("used in one event loop", "may be shared by threads"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(Client|Channel|Stream)\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
)
"""Regular expressions and what takes their place, in this order; each replaces something."""
_ASYNCHRONOUS = re.compile(r".*\b(a?sync|await|Async\w*|asyncio|aio|aclos\w+|__a(iter|next)__|StopAsyncIteration)\b.*")


def blocking(source: str) -> str:
    """The blocking client's text.

    Raises ValueError where a replacement has nothing to replace, or where something asynchronous is left.
    """
    for pattern, replacement in REPLACEMENTS:
        source, count = re.subn(pattern, replacement, source)
        if not count:
            raise ValueError(f"nothing matches {pattern!r}; change it or remove it from REPLACEMENTS")
    if left := _ASYNCHRONOUS.search(source):
        raise ValueError(f"no replacement makes this blocking: {left[0].strip()!r}; add one to REPLACEMENTS")
    return source


if __name__ == "__main__":
    TARGET.write_text(blocking(SOURCE.read_text("utf-8")), "utf-8")
