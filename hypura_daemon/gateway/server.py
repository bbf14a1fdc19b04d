"""uvicorn in the daemon's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from hypura_daemon.gateway.listening import told
from hypura_daemon.gateway.protocol import BoundedProtocol

KEEP_ALIVE_SECONDS = 75
TICK_SECONDS = 4.0
"""So old may an answer's Date be; a shorter one is most of what an idle daemon costs."""


class GatewayServer:
    """Serves the application on sockets that listen already; address is the first one's host:port."""

    def __init__(self, app: ASGIApp, listeners: Sequence[socket.socket], grace_seconds: float) -> None:
        self.address = told(listeners[0])
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(grace_seconds)),
        )
        self._server = _Server(config)
        self._listeners = list(listeners)

    async def run(self) -> None:
        """Serve until `end`; then nothing new, and running answers get the grace."""
        await self._server.serve(sockets=self._listeners)

    def end(self) -> None:
        """Have `run` return."""
        self._server.should_exit = True
        self._server.ended.set()


class _Server(uvicorn.Server):
    """The daemon handles its signals itself, and an idle one sleeps: uvicorn wakes ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        # Every tenth tick of uvicorn's writes the Date header anew, and is all that is needed.
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self.ended.wait(), TICK_SECONDS)
            except TimeoutError:
                pass

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
