"""Words that the code once had for things with a name of their own do not come back; the glossary has those names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("hypura_client", "hypura_daemon", "hypura_worker", "protos")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".c", ".h", ".proto"} and "_pb2" not in path.name and path.name != "passage.py"
)
PAGES = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name != "measurements.md")
"""measurements.md is a diary: it keeps the words of its time."""
INSTEAD = {
    r"guess(es|ed|ing)?": "a prefetch (of experts), or the word for what is assumed",
    r"settle[sd]?|settling": "what is decided or done",
    r"shop": "model manager",
    r"dice": "sampling seed",
    r"is no valid": "is not valid",
    r"(goes|go|going) in circles": "repeats itself",
    r"who asks|whoever asks": "clients, callers or requests",
    r"(met a )?defect of its own|met a defect": "internal error",
    r"tenure": "run_worker, or what a worker's task does",
    r"pulse": "health, or heartbeat",
    r"shall": "must, or the present tense",
    r"whoever|somebody": "who it is: a client, a caller, a process",
    r"told(?! apart|…)": "reported, returned, logged or sent",
    r"he|his|him": "the client, the user or the process",
}


def pattern_of(word: str) -> re.Pattern[str]:
    """Finds the word in any case, but not as a part of another one or of a compound with hyphens."""
    return re.compile(rf"(?<![\w-])({word})(?![\w-])", re.IGNORECASE)


@pytest.mark.parametrize(("word", "instead"), INSTEAD.items(), ids=INSTEAD)
def test_plain_words(word: str, instead: str) -> None:
    pattern = pattern_of(word)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (*SOURCES, *PAGES)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"instead of {word!r} write {instead}:\n" + "\n".join(found)


def test_the_pattern_finds_what_it_is_for() -> None:
    assert len(SOURCES) > 200 and len(PAGES) > 8
    found = {
        text: any(pattern_of(word).search(text) for word in INSTEAD)
        for text in ("the Shop.", "was told so", "settling", "work-shop", "shopping", "told apart", "the")
    }
    assert [text for text in found if found[text]] == ["the Shop.", "was told so", "settling"]
