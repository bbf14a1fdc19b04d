"""Places for connections, and clients that do not read their answers."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from typing import Any

import httpx
import pytest

from hypura_daemon.gateway.http import connections
from hypura_daemon.system.descriptors import Places
from tests.daemon.gateway import scripted
from tests.daemon.gateway.events import says
from tests.daemon.gateway.scripted import Gateway, serving

MESSAGES = '"messages": [{"role": "user", "content": "hi"}]'
STREAMS = {
    "/api/chat": f'{{"model": "demo", {MESSAGES}}}',
    "/api/generate": '{"model": "demo", "prompt": "hi", "raw": true}',
    "/v1/chat/completions": f'{{"model": "demo", "stream": true, {MESSAGES}}}',
    "/v1/completions": '{"model": "demo", "stream": true, "prompt": "hi"}',
    "/v1/responses": '{"model": "demo", "stream": true, "input": "hi"}',
    "/v1/messages": f'{{"model": "demo", "stream": true, "max_tokens": 5, {MESSAGES}}}',
}


async def asked(gateway: Gateway, path: str, body: str) -> socket.socket:
    """A request that is sent, over a connection with a small window."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", int(gateway.address.rpartition(":")[2])))
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    await loop.sock_sendall(connection, (head + body).encode())
    return connection


@pytest.mark.parametrize("path", STREAMS)
async def test_a_client_that_stops_reading_is_cut_off(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "CLIENT_STALL_SECONDS", 0.3)
    async with serving() as gateway:
        gateway.inference.script = itertools.repeat(says("word " * 100))  # type: ignore[assignment]
        with await asked(gateway, path, STREAMS[path]) as connection:
            assert (await asyncio.get_running_loop().sock_recv(connection, 12)) == b"HTTP/1.1 200"
            async with asyncio.timeout(10):
                await gateway.inference.idle.wait()
        assert gateway.inference.running == 0


async def test_a_client_that_reads_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "CLIENT_STALL_SECONDS", 0.4)
    async with serving() as gateway:
        gateway.inference.script = itertools.repeat(says("word " * 100))  # type: ignore[assignment]
        with await asked(gateway, "/api/chat", STREAMS["/api/chat"]) as connection:
            begun, read_bytes = time.monotonic(), 0
            while time.monotonic() - begun < 2.0:
                read_bytes += len(await asyncio.get_running_loop().sock_recv(connection, 1 << 20))
                await asyncio.sleep(0.002)
            assert gateway.inference.running == 1
            assert read_bytes > connections.LEAST_READ_BYTES


async def test_one_that_is_silent_makes_room_and_one_that_is_answered_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "PLACES", Places(2, 2, 2))
    monkeypatch.setattr(connections, "LEAST_SILENT_SECONDS", 0.2)
    async with serving(says("a"), scripted.STUCK) as gateway:
        loop = asyncio.get_running_loop()
        with await asked(gateway, "/api/chat", STREAMS["/api/chat"]) as busy, socket.socket() as silent:
            await gateway.inference.busy.wait()
            silent.setblocking(False)
            await loop.sock_connect(silent, ("127.0.0.1", int(gateway.address.rpartition(":")[2])))
            assert (await version(gateway)).status_code == 503, "both places are taken"
            await asyncio.sleep(0.25)
            assert (await version(gateway)).status_code == 200
            assert await loop.sock_recv(silent, 1) == b"", "it gave its place away"
            assert gateway.inference.running == 1
            assert (await loop.sock_recv(busy, 12)) == b"HTTP/1.1 200"


async def version(gateway: Gateway) -> Any:
    async with httpx.AsyncClient(base_url=gateway.address) as client:
        return await client.get("/api/version")


async def test_an_acceptor_without_descriptors_waits_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.01)
    async with serving() as gateway:
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, iter([24, 23, 103])
        # The one that waits already is let go by a first connection.

        async def failing(listener: socket.socket) -> Any:
            if number := next(failures, None):
                raise OSError(number, "no luck")
            return await accept(listener)

        monkeypatch.setattr(loop, "sock_accept", failing)
        for _ in range(3):
            assert (await version(gateway)).status_code == 200
        assert next(failures, None) is None
