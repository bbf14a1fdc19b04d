"""README and docs: every link leads somewhere, every path and test exists, every setting is listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hypura_daemon.settings import _Sources

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`((?:hypura_\w+|protos|tests|docs|launchd)/[\w./-]+)(?:::\w+)?`")
NAMED_TEST = re.compile(r"`([\w./-]+\.py)?(?:::(\w+))?`")
"""`tests/a/test_b.py::test_c`, `test_b.py::test_c` of any folder, and `::test_c` of the file before it in its line."""


def anchors(page: Path) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}, and there is no such heading"


PAST = ("CHANGELOG.md", "measurements.md")
"""These name the code as it was."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in PAST], ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    for name in CODE_PATH.findall(page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page.name} names {name}, which is not there"


def missing_tests(text: str) -> list[str]:
    """The tests that a page names and that are not in the file it names."""
    missing = []
    for line in text.splitlines():
        file, content = "", ""
        for named, test in NAMED_TEST.findall(line):
            if named:
                file, paths = named, [ROOT / named] if "/" in named else (ROOT / "tests").rglob(named)
                content = "".join(path.read_text("utf-8") for path in paths if path.exists())
            if test and not re.search(rf"def {test}\(", content):
                missing.append(f"{file}::{test}")
    return missing


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in PAST], ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert missing_tests(page.read_text("utf-8")) == []


def test_a_missing_test_is_found() -> None:
    here = "`tests/test_readme.py::test_a_missing_test_is_found`, `::test_a`, `test_readme.py`, `test_words.py::test_b`"
    assert missing_tests(here) == ["tests/test_readme.py::test_a", "test_words.py::test_b"]
    assert missing_tests("`::test_c`") == ["::test_c"]


@pytest.mark.parametrize("name", sorted(_Sources.model_fields))
def test_every_setting_is_in_the_table(name: str) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    rows = [line for line in reference.splitlines() if line.startswith("| `HYPURA_")]
    assert any(f"`HYPURA_{name.upper()}" in row.split("|")[1] for row in rows)
