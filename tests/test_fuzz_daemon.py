"""A running daemon describes damaged files or says what is wrong with them; fuzz_daemon.py does it for longer."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz_daemon import fuzz


def test_damaged_headers_do_not_harm_the_daemon(tmp_path: Path) -> None:
    assert fuzz(tmp_path, count=150, seed=7) == 0
