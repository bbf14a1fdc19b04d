"""Fixtures of the daemon's tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """For sockets: tmp_path is too long for their names."""
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        yield Path(name)
