"""The gRPC server on the control socket, and the relay in front of it where the service manager opened that socket.

client ─► control socket ─► gRPC server: ControlService, InferenceService, health
client ─► socket that systemd or launchd opened ─► relay ─► gRPC's own socket beside it

gRPC cannot take over a socket that listens already, so the relay passes on every byte.
"""

import asyncio
import os
import socket
from pathlib import Path
from urllib.parse import quote

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hypura.v1 import control_pb2_grpc, inference_pb2_grpc
from hypura_daemon.errors import SettingsError
from hypura_daemon.rpc.control import ControlServicer
from hypura_daemon.rpc.errors import ErrorInterceptor
from hypura_daemon.rpc.inference import InferenceServicer
from hypura_daemon.workers.process import MAX_MESSAGE_BYTES

MAX_CALLS = 4096
"""Of all clients on the control socket; beyond, a call is refused with RESOURCE_EXHAUSTED."""
HANDSHAKE_SECONDS = 20.0
"""For the first bytes of a connection to the control socket."""
IDLE_CONNECTION_SECONDS = 600.0
"""Then a connection without calls is closed; gRPC's clients open another when they need it."""
RELAYED_SOCKET = "grpc.sock"
PIECE_BYTES = 1 << 16
PAUSE_SECONDS = 1.0
"""After a connection that could not be accepted because no descriptor was free."""
_SERVICES = ("", "hypura.v1.ControlService", "hypura.v1.InferenceService")

_log = structlog.get_logger()


class ControlServer:
    """The gRPC server. Raises SettingsError where its socket cannot be made; connections: most at once."""

    def __init__(
        self,
        path: Path,
        control: ControlServicer,
        inference: InferenceServicer,
        *,
        connections: int,
        client_stall_seconds: float,
    ) -> None:
        self._server = grpc.aio.server(
            interceptors=[ErrorInterceptor(client_stall_seconds)],
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_allowed_incoming_connections", connections),
                ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
                ("grpc.max_connection_idle_ms", int(IDLE_CONNECTION_SECONDS * 1000)),
            ],
        )
        control_pb2_grpc.add_ControlServiceServicer_to_server(control, self._server)  # type: ignore[no-untyped-call]
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(inference, self._server)  # type: ignore[no-untyped-call]
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        before = os.umask(0o177)  # The socket must not be open to others even for a moment.
        try:
            self._server.add_insecure_port(f"unix:{quote(str(path))}")  # an address is a URI
            path.chmod(0o600)
        except (RuntimeError, OSError) as error:
            raise SettingsError(
                f"the control socket {path} cannot be made; set HYPURA_SOCKET to another path"
            ) from error
        finally:
            os.umask(before)

    async def start(self) -> None:
        """Accept calls."""
        await self._server.start()

    async def report_health(self, *, serving: bool) -> None:
        """What the health service answers from now on."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in _SERVICES:
            await self._health.set(service, status)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, and cancel those that still run after the grace time."""
        await self._server.stop(grace_seconds)


async def relay(listener: socket.socket, to: Path, most: int) -> None:
    """Pass on every connection, at most `most` at once, until cancelled; the listening socket stays open."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    open_connections: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as connections:
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("a connection to the control socket cannot be accepted", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(open_connections) >= most:
                _log.debug("a connection to the control socket is refused", open=len(open_connections))
                connection.close()
                continue
            passing = connections.create_task(_pass_on(connection, to))
            open_connections.add(passing)
            passing.add_done_callback(open_connections.discard)


async def _pass_on(outer: socket.socket, to: Path) -> None:
    with outer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
                outer.setblocking(False)
                inner.setblocking(False)
                await asyncio.get_running_loop().sock_connect(inner, str(to))
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(_copy(outer, inner))
                    directions.create_task(_copy(inner, outer))
        except* OSError as group:
            _log.debug("a control connection was cut off", error=str(group.exceptions[0]))


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then end the target's input."""
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(source, PIECE_BYTES):
        await loop.sock_sendall(target, piece)
    target.shutdown(socket.SHUT_WR)
