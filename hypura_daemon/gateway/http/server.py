"""uvicorn in the daemon's own event loop, with the daemon's own bounds on connections.

end ─► nothing new; running answers go on ─ cut ─► the core fails them, which is told; what is left is cancelled
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
from hypura_daemon.gateway.http.listening import told
from hypura_daemon.gateway.http.streams import Cuttable

KEEP_ALIVE_SECONDS = 75
CUT_SECONDS = 1.0
"""For an answer that has failed to be told so."""
QUIET_TICK_SECONDS = 0.02
TICK_SECONDS = 4.0
"""So old may an answer's Date be; a shorter one is most of what an idle daemon costs."""


class GatewayServer:
    """Serves the application on sockets that listen already; address is the first one's host:port."""

    def __init__(
        self, app: ASGIApp, listeners: Sequence[socket.socket], grace_seconds: float, connections: Connections
    ) -> None:
        self.address = told(listeners[0])
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
        """Serve until `end`; then nothing new, and running answers go on until `cut`, or the grace is over."""
        await self._server.serve(sockets=self._listeners)

    def end(self, grace_seconds: float | None = None) -> None:
        """Have `run` return; running answers get this grace instead of the usual if given."""
        if grace_seconds is not None:
            self._server.grace_seconds = grace_seconds
        self._server.should_exit = True
        self._server.ended.set()

    def cut(self) -> None:
        """End what runs: `run` returns soon."""
        self._server.cut.set()


class _Server(uvicorn.Server):
    """The daemon handles its signals itself, and an idle one sleeps: uvicorn wakes ten times a second."""

    def __init__(
        self, config: uvicorn.Config, connections: Connections, cut: asyncio.Event, grace_seconds: float
    ) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()
        self.cut = cut
        self._connections = connections
        self.grace_seconds = grace_seconds

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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # Idle ones are closed, others when they have answered.
        if not await self._quiet_within(self.grace_seconds, self.cut.wait()):
            self.cut.set()
            if not await self._quiet_within(CUT_SECONDS):
                for task in self.server_state.tasks:
                    task.cancel()
                await self._quiet_within(CUT_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _quiet_within(self, seconds: float, *unless: Coroutine[Any, Any, object]) -> bool:
        """Whether every connection has ended within this time, and before anything of `unless`."""
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
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(QUIET_TICK_SECONDS)

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
