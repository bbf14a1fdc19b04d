"""One daemon with the demo model, for clients that know nothing of hypura."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compatibility.daemon import running_daemon

MODEL = "demo"
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the packages that `make test-clients` installs."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """http://host:port of a daemon of its own."""
    with running_daemon() as daemon:
        yield daemon.address
