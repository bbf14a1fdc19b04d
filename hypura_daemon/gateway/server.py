"""uvicorn in the daemon's own event loop."""

import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from hypura_daemon.gateway.http10 import Protocol
from hypura_daemon.gateway.listening import told

KEEP_ALIVE_SECONDS = 75
MAX_HEADER_BYTES = 64 << 10


class GatewayServer:
    """Serves the application on sockets that listen already; address is the first one's host:port."""

    def __init__(self, app: ASGIApp, listeners: Sequence[socket.socket], grace_seconds: float) -> None:
        self.address = told(listeners[0])
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(grace_seconds)),
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._server = _Server(config)
        self._listeners = list(listeners)

    async def run(self) -> None:
        """Serve until `end`; then nothing new, and running answers get the grace."""
        await self._server.serve(sockets=self._listeners)

    def end(self) -> None:
        """Have `run` return."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """The daemon handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
