"""The daemon behind systemd's own socket activation: a client's first request starts it, and the sockets stay."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_daemon.system.activation import systemd_descriptors
from tests.client.conftest import REPOSITORY
from tests.daemon.test_app import COMMAND, START_SECONDS, environment, home, wait_until_ready

__all__ = ["home"]  # a fixture
ACTIVATE = shutil.which("systemd-socket-activate")
pytestmark = pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate comes with Debian's package systemd")


@contextmanager
def activated(home: Path, names: str, listen: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """systemd-socket-activate, which becomes hypurad at the first connection: the same process."""
    kept = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'protos'}", "HYPURA_STORES": "none"}
    kept |= {key: value for key, value in environment(home).items() if key.startswith("HYPURA_")}
    arguments = [argument for place in listen for argument in ("--listen", place)]
    arguments += [f"--setenv={key}={value}" for key, value in kept.items()]
    command = [str(ACTIVATE), f"--fdname={names}", *arguments, *COMMAND, "--memory", "2GB"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            for _ in listen:
                assert b"Listening on" in process.stderr.readline()
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def sockets_of(process: subprocess.Popen[bytes]) -> set[str]:
    """The sockets that a process holds, by the kernel's numbers."""
    links = (link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir())
    return {str(link) for link in links if str(link).startswith("socket:")}


def test_the_first_request_starts_the_daemon_which_keeps_the_socket(home: Path) -> None:
    port = free_port()
    with activated(home, "http", [f"127.0.0.1:{port}"]) as process:
        before = sockets_of(process)
        assert "hypura" not in psutil.Process(process.pid).name() and not (home / "run").exists()
        assert httpx.get(f"http://127.0.0.1:{port}/api/version", timeout=START_SECONDS).status_code == 200
        assert before <= sockets_of(process), "it is the same socket, not another one at its place"
        with grpc.insecure_channel(f"unix:{home}/run/control.sock") as channel:
            wait_until_ready(process, channel)
            control = control_pb2_grpc.ControlServiceStub(channel)
            assert control.Status(control_pb2.StatusRequest()).daemon.http_address == f"127.0.0.1:{port}"
            control.Shutdown(control_pb2.ShutdownRequest())
        assert process.wait(START_SECONDS) == 0


def test_the_control_socket_starts_it_too_and_is_neither_removed_nor_made_anew(home: Path) -> None:
    """gRPC cannot take over a listening socket: its calls are relayed."""
    place, port = home / "run" / "control.sock", free_port()
    place.parent.mkdir(mode=0o700)
    with activated(home, "control:http", [str(place), f"127.0.0.1:{port}"]) as process:
        inode = place.stat().st_ino
        with grpc.insecure_channel(f"unix:{place}") as channel:
            wait_until_ready(process, channel)
            control = control_pb2_grpc.ControlServiceStub(channel)
            assert control.Status(control_pb2.StatusRequest()).daemon.pid == process.pid
            assert httpx.get(f"http://127.0.0.1:{port}/api/version", timeout=START_SECONDS).status_code == 200
            assert stat.S_IMODE((home / "run" / "grpc.sock").stat().st_mode) == 0o600
            watching = control.Watch(control_pb2.WatchRequest())
            assert next(iter(watching)).status.daemon.pid == process.pid
            control.Shutdown(control_pb2.ShutdownRequest())
            assert process.wait(START_SECONDS) == 0
        assert place.stat().st_ino == inode
        assert not (home / "run" / "grpc.sock").exists()


def test_a_socket_of_another_name_is_closed() -> None:
    """Its clients would wait for ever. In a process of its own, since the first descriptor is always 3."""
    program = (
        "import os, socket, sys\nfrom hypura_daemon.system.activation import systemd_descriptors\n"
        "for number in (3, 4, 5):\n    os.dup2(socket.socket().detach(), number)\n"
        "environ = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '3', 'LISTEN_FDNAMES': 'http:other:control'}\n"
        "print(systemd_descriptors(environ, os.getpid()), environ, os.path.exists('/proc/self/fd/4'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "{'http': [3], 'control': [5]} {} False"
    assert systemd_descriptors({}, 1) == {}
