"""Sockets from service managers: taken when they are ours, left alone otherwise."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

import pytest

from hypura_daemon.system.activation import launchd_descriptors, systemd_descriptors
from hypura_daemon.system.notify import Notifier

PID = 4711


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


def test_systemd_is_told_the_states(tmp_path: Path) -> None:
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
