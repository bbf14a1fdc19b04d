"""One daemon with the demo model, for clients that know nothing of hypura."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compatibility.daemon import running_daemon

MODEL = "demo"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """http://host:port of a daemon of its own."""
    with running_daemon() as daemon:
        yield daemon.address
