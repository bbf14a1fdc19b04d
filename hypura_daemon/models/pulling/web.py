"""HTTP for pulls: one client with its deadlines, and what its errors mean for people."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hypura_daemon.errors import DownloadFailed
from hypura_daemon.models.pulling.download import Patience, described

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
CONNECT_SECONDS = 20.0


@asynccontextmanager
async def web_client(patience: Patience) -> "AsyncIterator[httpx.AsyncClient]":
    """A client; its library is loaded with the first pull, since an idle daemon needs none."""
    import httpx

    timeout = httpx.Timeout(patience.stall_seconds, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(
        timeout=timeout,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        headers={"User-Agent": "hypura"},
    ) as client:
        yield client


def unreachable(host: str, error: BaseException) -> DownloadFailed:
    """What is told when a host does not answer."""
    return DownloadFailed(
        f"{host} cannot be reached: {described(error)}; check the network, "
        "or register a file that is here already with: hypuractl add PATH"
    )
