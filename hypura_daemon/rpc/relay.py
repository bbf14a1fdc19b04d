"""A control socket that the service manager opened. gRPC cannot take over a socket that listens already, so what comes
there is passed on, byte for byte, to a socket of gRPC's own beside it.
"""

import asyncio
import socket
from pathlib import Path

import structlog

RELAYED_SOCKET = "grpc.sock"
PIECE_BYTES = 1 << 16
PAUSE_SECONDS = 1.0
"""After a connection that could not be taken, for want of descriptors."""

_log = structlog.get_logger()


async def relay(listener: socket.socket, to: Path, most: int) -> None:
    """Pass on every connection, no more at once than `most`, until cancelled; the listening socket stays the service
    manager's.
    """
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    open_ones: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as connections:
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("a connection to the control socket cannot be taken", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(open_ones) >= most:
                _log.debug("a connection to the control socket is refused", open=len(open_ones))
                connection.close()
                continue
            passing = connections.create_task(_pass_on(connection, to))
            open_ones.add(passing)
            passing.add_done_callback(open_ones.discard)


async def _pass_on(outer: socket.socket, to: Path) -> None:
    with outer:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
                outer.setblocking(False)
                inner.setblocking(False)
                await asyncio.get_running_loop().sock_connect(inner, str(to))
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_copy(outer, inner))
                    ways.create_task(_copy(inner, outer))
        except* OSError as group:
            _log.debug("a control connection was cut off", error=str(group.exceptions[0]))


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source has no more to say, which the target is then told."""
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(source, PIECE_BYTES):
        await loop.sock_sendall(target, piece)
    target.shutdown(socket.SHUT_WR)
