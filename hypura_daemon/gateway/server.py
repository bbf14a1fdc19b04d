"""uvicorn in the daemon's own event loop, with the daemon's own bounds on connections."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from hypura_daemon.gateway.connections import Acceptor, Connections, CountedProtocol
from hypura_daemon.gateway.listening import told

KEEP_ALIVE_SECONDS = 75
TICK_SECONDS = 4.0
"""So old may an answer's Date be; a shorter one is most of what an idle daemon costs."""


class GatewayServer:
    """Serves the application on sockets that listen already; address is the first one's host:port."""

    def __init__(
        self, app: ASGIApp, listeners: Sequence[socket.socket], grace_seconds: float, connections: Connections
    ) -> None:
        self.address = told(listeners[0])
        config = uvicorn.Config(
            app,
            http=CountedProtocol,
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
        self._server = _Server(config, connections)
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

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from the sockets; again, where serving failed and is begun anew."""
        for server in getattr(self, "servers", ()):
            server.close()
        await self.lifespan.startup()
        make = partial(
            CountedProtocol,
            self._connections,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        self.servers = [Acceptor(listener, make) for listener in sockets or ()]  # type: ignore[misc]
        self.started = True

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
