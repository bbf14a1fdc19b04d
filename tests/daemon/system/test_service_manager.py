"""Sockets from service managers are taken when they are ours; systemd starts the daemon by them and is notified."""

from __future__ import annotations

import ctypes
import os
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
from hypura_daemon.system.service_manager import Notifier, launchd_descriptors, systemd_descriptors
from tests.client.conftest import REPOSITORY
from tests.daemon.test_app import COMMAND, START_SECONDS, environment, home, wait_until_ready

__all__ = ["home"]  # a fixture
PID = 4711
ACTIVATE = shutil.which("systemd-socket-activate")
needs_activate = pytest.mark.skipif(
    ACTIVATE is None, reason="systemd-socket-activate comes with Debian's package systemd"
)


def announced(**more: str) -> dict[str, str]:
    return {"LISTEN_PID": str(PID), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "KEPT": "1"} | more


@pytest.mark.parametrize(
    "changed",
    [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "-1"}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "0"}],
)
def test_what_was_announced_to_another_process_is_left_alone(changed: dict[str, str]) -> None:
    environ = announced(**changed)
    assert systemd_descriptors(environ, PID) == {}
    assert environ == {"KEPT": "1"}, "a worker would believe the sockets to be its own"


def test_launchd_hands_over_its_array_and_codes_mean_none() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    handed = os.dup(listener.fileno())
    os.set_inheritable(handed, True)
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p

    def activate(name: bytes, descriptors: object, count: object) -> int:
        assert name == b"http"
        array = ctypes.cast(libc.malloc(ctypes.c_size_t(8)), ctypes.POINTER(ctypes.c_int))
        array[0] = handed
        descriptors._obj.contents = array.contents  # type: ignore[attr-defined]
        count._obj.value = 1  # type: ignore[attr-defined]
        return 0

    assert launchd_descriptors("http", activate) == [handed]
    assert not os.get_inheritable(handed)
    os.close(handed)
    listener.close()
    assert launchd_descriptors("http", lambda *_: 3) == []


def test_systemd_is_notified_of_the_states(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "s"))
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "s")})
        notifier.ready("serving")
        notifier.stopping(10)
        assert manager.recv(999) == b"READY=1\nSTATUS=serving"
        assert manager.recv(999).startswith(b"STOPPING=1\n")


async def test_the_watchdog_is_fed_only_when_it_watches_us(tmp_path: Path) -> None:
    address = str(tmp_path / "s")
    for environ in ({}, {"NOTIFY_SOCKET": address}, {"WATCHDOG_USEC": "1000"}):
        await Notifier(environ).watch()
    await Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watch()


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


@needs_activate
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


@needs_activate
def test_the_control_socket_starts_it_too_and_is_neither_removed_nor_replaced(home: Path) -> None:
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
        "import os, socket, sys\nfrom hypura_daemon.system.service_manager import systemd_descriptors\n"
        "for number in (3, 4, 5):\n    os.dup2(socket.socket().detach(), number)\n"
        "environ = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '3', 'LISTEN_FDNAMES': 'http:other:control'}\n"
        "print(systemd_descriptors(environ, os.getpid()), environ, os.path.exists('/proc/self/fd/4'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "{'http': [3], 'control': [5]} {} False"
    assert systemd_descriptors({}, 1) == {}
