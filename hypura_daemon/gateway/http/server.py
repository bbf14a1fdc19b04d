"""uvicorn in the daemon's own event loop, with the daemon's own bounds on connections.

end ─► no new connections; running answers go on ─ cut ─► the core fails them, and their clients get that error;
                                                          what is left is cancelled
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from hypura_daemon.gateway.http.connections import Acceptor, Connections, CountedProtocol
from hypura_daemon.gateway.http.listening import address_of
from hypura_daemon.gateway.http.streams import Cuttable

KEEP_ALIVE_SECONDS = 75
CUT_SECONDS = 1.0
"""For the error of a cut answer to reach its client."""
QUIET_TICK_SECONDS = 0.02
TICK_SECONDS = 4.0
"""How old an answer's Date header may be; a shorter tick is most of an idle daemon's processor time."""


class GatewayServer:
    """Serves the application on sockets that listen already; address is the first one's host:port."""

    def __init__(
        self, app: ASGIApp, listeners: Sequence[socket.socket], grace_seconds: float, connections: Connections
    ) -> None:
        self.address = address_of(listeners[0])
        cut = asyncio.Event()
        config = uvicorn.Config(
            Cuttable(app, cut),
            http=CountedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server = _Server(config, connections, cut, grace_seconds)
        self._listeners = list(listeners)

    async def run(self) -> None:
        """Serve until `end`; then accept nothing, and let running answers go on until `cut` or the end of the grace."""
        await self._server.serve(sockets=self._listeners)

    def end(self, grace_seconds: float | None = None) -> None:
        """Have `run` return; grace_seconds replaces the usual grace for running answers."""
        if grace_seconds is not None:
            self._server.grace_seconds = grace_seconds
        self._server.should_exit = True
        self._server.ended.set()

    def cut(self) -> None:
        """End running answers with an error, so that `run` returns soon."""
        self._server.cut.set()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which the daemon has itself, and without its ten wake-ups a second."""

    def __init__(
        self, config: uvicorn.Config, connections: Connections, cut: asyncio.Event, grace_seconds: float
    ) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()
        self.cut = cut
        self._connections = connections
        self.grace_seconds = grace_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from the sockets; again, where serving failed and is restarted."""
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # Closes idle connections, and others once they have answered.
        if not await self._quiet_within(self.grace_seconds, self.cut.wait()):
            self.cut.set()
            if not await self._quiet_within(CUT_SECONDS):
                for task in self.server_state.tasks:
                    task.cancel()
                await self._quiet_within(CUT_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _quiet_within(self, seconds: float, *unless: Coroutine[Any, Any, object]) -> bool:
        """Whether all connections have ended within this time, and before any work of `unless`."""
        quiet = asyncio.ensure_future(self._quiet())
        others = [asyncio.ensure_future(work) for work in unless]
        try:
            await asyncio.wait((quiet, *others), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return quiet.done()
        finally:
            for task in (quiet, *others):
                task.cancel()
            await asyncio.gather(quiet, *others, return_exceptions=True)

    async def _quiet(self) -> None:
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(QUIET_TICK_SECONDS)

    async def main_loop(self) -> None:
        # Every tenth tick of uvicorn renews the Date header; the daemon needs no others.
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self.ended.wait(), TICK_SECONDS)
            except TimeoutError:
                pass

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
