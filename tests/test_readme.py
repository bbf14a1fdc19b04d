"""README and docs: every link leads somewhere, every setting is listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hypura_daemon.settings import _Sources

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`((?:hypura_\w+|protos|tests|docs|launchd)/[\w./-]+)(?:::\w+)?`")


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


@pytest.mark.parametrize("name", sorted(_Sources.model_fields))
def test_every_setting_is_in_the_table(name: str) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    rows = [line for line in reference.splitlines() if line.startswith("| `HYPURA_")]
    assert any(f"`HYPURA_{name.upper()}" in row.split("|")[1] for row in rows)
