"""The daemon in the test's own process, so that a test can replace a part of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from hypura_daemon.app import Ending, serve
from hypura_daemon.settings import load_settings
from tests.hardware import measure_nothing


@asynccontextmanager
async def serving(home: Path, *, measured: bool = True, **flags: str) -> AsyncIterator[str]:
    """A daemon that serves, as host:port of its gateway; ended at the end. measured: it knows the machine's figures."""
    if measured:
        await asyncio.to_thread(measure_nothing, home)
    endings: list[Ending] = []
    init = Ending.__init__

    def kept(self: Ending, grace_seconds: float) -> None:
        init(self, grace_seconds)
        endings.append(self)

    settings = load_settings({"home": str(home), "http": "127.0.0.1:0", "memory": "2GB", **flags})
    Ending.__init__ = kept  # type: ignore[method-assign]
    try:
        with structlog.testing.capture_logs() as lines:
            daemon = asyncio.ensure_future(serve(settings))
            try:
                while not (told := [line for line in lines if line["event"] == "serving"]):
                    assert not daemon.done(), daemon.result()
                    await asyncio.sleep(0.01)
                yield str(told[0]["http"])
            finally:
                for ending in endings:
                    ending.request(0.0)
                async with asyncio.timeout(30):
                    await daemon
    finally:
        Ending.__init__ = init  # type: ignore[method-assign]


def listening(log: str) -> str:
    """host:port of the gateway, from a daemon's log; empty while it does not serve."""
    found = re.search(r'"http": "([^"]+)"', log)
    return found[1] if found else ""
