"""The README's table of settings names every setting there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypura_daemon.settings import _Sources

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", sorted(_Sources.model_fields))
def test_every_setting_is_in_the_table(name: str) -> None:
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith("| `HYPURA_")]
    assert any(f"`HYPURA_{name.upper()}" in row.split("|")[1] for row in rows)
