"""What other users may do to a running daemon, where no other test shows it: see docs/security.md."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_client.discovery import Location
from hypura_client.errors import CannotConnect
from hypura_client.launch import start_daemon
from hypura_daemon.errors import SettingsError
from hypura_daemon.gateway.http import bodies, protocol
from hypura_daemon.system.endpoint import locked_home, prepare_socket
from tests.daemon.gateway.scripted import BODY_LIMIT_BYTES, serving
from tests.daemon.test_app import daemon, home

__all__ = ["home"]  # a fixture
WAIT_SECONDS = 30
ANOTHER_USER = 12345


@pytest.fixture
def running(home: Path) -> Iterator[tuple[int, str, Path]]:
    """Its pid, its gateway's host:port, its home."""
    with daemon(home, "--memory", "2GB") as (process, channel):
        status = control_pb2_grpc.ControlServiceStub(channel).Status(control_pb2.StatusRequest())
        yield process.pid, status.daemon.http_address, home


def test_what_is_listened_on(running: tuple[int, str, Path]) -> None:
    """One TCP port, on loopback, and one unix socket that only its owner may open, in a folder of its owner."""
    pid, address, home = running
    found = [c for c in psutil.Process(pid).net_connections(kind="all") if c.status == psutil.CONN_LISTEN]
    assert [f"{c.laddr.ip}:{c.laddr.port}" for c in found] == [address] and address.startswith("127.0.0.1:")
    held = {str(c.laddr) for c in psutil.Process(pid).net_connections(kind="unix") if c.laddr}
    assert {path for path in held if path.startswith(str(home))} == {f"{home}/run/control.sock"}
    for path, mode in ((home / "run", 0o700), (home / "run/control.sock", 0o600), (home / "run/daemon.pid", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


def test_a_workers_socket_is_its_owners_alone(home: Path) -> None:
    with daemon(home, "--memory", "2GB") as (_, channel):
        control = control_pb2_grpc.ControlServiceStub(channel)
        assert list(control.Load(control_pb2.LoadRequest(model="demo"), timeout=WAIT_SECONDS))[-1].HasField("loaded")
        [worker] = (home / "run").glob("*.s")
        assert stat.S_ISSOCK(worker.stat().st_mode) and stat.S_IMODE(worker.stat().st_mode) == 0o600


def test_a_page_of_another_site_and_a_rebound_name_get_nothing(running: tuple[int, str, Path]) -> None:
    """Through a browser on this machine, with every content type that needs no preflight, and by DNS rebinding."""
    _, address, _ = running
    with httpx.Client(base_url=f"http://{address}", timeout=WAIT_SECONDS) as http:
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "https://evil.example", "content-type": "text/plain"},
            {"origin": "null"},
            {"host": f"evil.example:{address.rpartition(':')[2]}"},
        ):
            for path in ("/api/generate", "/api/pull", "/api/delete", "/v1/chat/completions"):
                answer = http.post(path, headers=headers, content=b'{"model": "demo", "prompt": "x"}')
                assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 4096),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * 4096),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a: b\r\n" * 1000),
        (b"POST /api/show HTTP/1.1\r\nHost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 1000),
    ],
    ids=["target", "one header", "headers", "trailers"],
)
async def test_a_head_without_end_is_cut_off(begin: bytes, piece: bytes) -> None:
    """httptools was seen to keep all of it, before any key was checked."""
    async with serving() as gateway:
        host, _, port = gateway.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(begin)
        sent_bytes = 0
        try:
            while sent_bytes < 64 * protocol.MAX_HEAD_BYTES and not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                sent_bytes += len(piece)
                await asyncio.sleep(0)  # The server is in this loop, too.
        except ConnectionError:
            pass
        writer.close()
        assert sent_bytes < 32 * protocol.MAX_HEAD_BYTES, "it reads on and on"
        assert (await gateway.http.get("/api/version")).status_code == 200


@pytest.mark.parametrize("begin", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local"])
async def test_a_connection_without_a_request_is_cut_off(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand half-open connections would be a thousand descriptors, for ever."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with serving() as gateway:
        host, _, port = gateway.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(begin)
        async with asyncio.timeout(WAIT_SECONDS):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.2)
    async with serving() as gateway:
        host, _, port = gateway.address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\ncontent-length: 100\r\n\r\n{")
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with serving() as gateway:
        answer = await gateway.http.post("/api/chat", content=b" " * (BODY_LIMIT_BYTES + 1))
        assert answer.status_code == 413


def test_a_home_or_runtime_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """In a shared /tmp, a user who may rename a folder can put another daemon there."""
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="another user"), locked_home(tmp_path):
        pass
    with pytest.raises(SettingsError, match="another user"):
        prepare_socket(tmp_path / "hypura" / "control.sock", private_folder=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder that is another user's")
def test_another_users_folder_is_used_by_neither_daemon_nor_client(tmp_path: Path) -> None:
    folder = tmp_path / "hypura-0"
    (folder / "hypura").mkdir(parents=True)
    os.chown(folder, ANOTHER_USER, ANOTHER_USER)
    place = folder / "hypura" / "control.sock"
    with pytest.raises(SettingsError, match="another user"):
        prepare_socket(place, private_folder=True)
    with pytest.raises(CannotConnect, match="another user"):
        start_daemon(Location(tmp_path / "home", place), {"HYPURA_NO_START": "1"})
