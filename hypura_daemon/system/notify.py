"""Tells systemd how the daemon is: ready, ending, alive (sd_notify(3)). Does nothing under anything else."""

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

_log = structlog.get_logger()


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
        """The daemon drains, and takes so long at most."""
        self._send(f"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={int((grace_seconds + 30) * 1e6)}")

    async def watch(self) -> None:
        """Say that the event loop runs, as often as the watchdog wants; returns at once when there is none."""
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
            _log.warning("systemd cannot be told", message=message.split("\n")[0], error=str(error))

    def close(self) -> None:
        """Nothing more is told."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """The watchdog's patience; 0 when there is none, or when it watches another process."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6
