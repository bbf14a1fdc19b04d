"""The service manager that runs the daemon: the sockets it opened, and the state it is notified of.

A socket that the service manager opened lets a client's request start the daemon. systemd hands such sockets over as
descriptors from 3 on, named in the environment (sd_listen_fds(3)); launchd by a call into libSystem
(launch_activate_socket(3)). Only systemd is notified (sd_notify(3)): ready, ending, alive.
"""

import asyncio
import ctypes
import os
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence

import structlog

FIRST_DESCRIPTOR = 3
MAX_SOCKETS = 64
HTTP, CONTROL = "http", "control"
"""What the service manager's files call the gateway's socket, and the control socket where they open that, too."""

_log = structlog.get_logger()


def handed_sockets(environ: MutableMapping[str, str]) -> Mapping[str, Sequence[socket.socket]]:
    """The listening sockets by HTTP and CONTROL; none when the daemon was not started by a service manager.

    Removes systemd's variables from the environment, so that workers do not take the sockets for theirs.
    """
    if sys.platform == "darwin":
        activate = _launch_activate_socket()
        found = {name: launchd_descriptors(name, activate) for name in (HTTP, CONTROL)}
    else:
        found = systemd_descriptors(environ, os.getpid())
    return {name: [socket.socket(fileno=descriptor) for descriptor in found.get(name, ())] for name in (HTTP, CONTROL)}


def systemd_descriptors(environ: MutableMapping[str, str], pid: int) -> Mapping[str, Sequence[int]]:
    """The descriptors that LISTEN_FDS announces to this process, by name; one without a name is the gateway's."""
    given = {key: environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if given["LISTEN_PID"] != str(pid) or not given["LISTEN_FDS"].isdecimal():
        return {}
    count = min(int(given["LISTEN_FDS"]), MAX_SOCKETS)
    names = given["LISTEN_FDNAMES"].split(":") if given["LISTEN_FDNAMES"] else []
    found: dict[str, list[int]] = {}
    for index in range(count):
        descriptor = FIRST_DESCRIPTOR + index
        os.set_inheritable(descriptor, False)
        name = names[index] if index < len(names) and names[index] not in ("unknown", "") else HTTP
        if name in (HTTP, CONTROL):
            found.setdefault(name, []).append(descriptor)
        else:
            _log.warning("a socket that was handed over has an unknown name", name=name)
            os.close(descriptor)  # So that a client's connection fails instead of waiting for ever.
    return found


Activate = Callable[[bytes, object, object], int]


def launchd_descriptors(name: str, activate: Activate) -> list[int]:
    """The descriptors of the plist's socket of this name; none outside of launchd (ESRCH, ENOENT).

    activate: int launch_activate_socket(const char *name, int **fds, size_t *count); the array is malloc'ed.
    """
    descriptors = ctypes.POINTER(ctypes.c_int)()
    count = ctypes.c_size_t()
    code = activate(name.encode(), ctypes.byref(descriptors), ctypes.byref(count))
    if code != 0:
        _log.debug("launchd handed over no socket", name=name, reason=os.strerror(code))
        return []
    try:
        found = [descriptors[index] for index in range(min(count.value, MAX_SOCKETS))]
    finally:
        _free(descriptors)
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return found


def _launch_activate_socket() -> Activate:
    function = ctypes.CDLL(None).launch_activate_socket
    function.restype = ctypes.c_int
    function.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    activate: Activate = function
    return activate


def _free(pointer: object) -> None:
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free.restype = None
    free(ctypes.cast(pointer, ctypes.c_void_p))  # type: ignore[arg-type]


class Notifier:
    """Sends datagrams to NOTIFY_SOCKET."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        # Open from the start: systemd ends a daemon whose watchdog finds no descriptor.
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        self._period_seconds = _watchdog_seconds(environ) / 2

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """A line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def stopping(self, grace_seconds: float) -> None:
        """The daemon drains, for grace_seconds at most."""
        self._send(f"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={int((grace_seconds + 30) * 1e6)}")

    async def watch(self) -> None:
        """Report that the event loop runs, as often as the watchdog expects; returns at once when there is none."""
        while self._address and self._period_seconds > 0:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._period_seconds)

    def _send(self, message: str) -> None:
        if self._channel is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        self._channel.setblocking(False)
        try:
            self._channel.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("systemd cannot be notified", message=message.split("\n")[0], error=str(error))

    def close(self) -> None:
        """Send no more."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """The time within which the watchdog expects a report; 0 for no watchdog, or one for another process."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6
