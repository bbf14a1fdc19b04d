"""A child process in a process group of its own, which can be signalled until it is collected, and never after.

A process that has ended keeps its id until it is collected; then the system may give the id, and the group's id, to
another process. asyncio collects at once and reports it later, so a signal to the group, for what the child left
behind, could hit another process. Here the end is noticed first, the group is killed, and then the child is collected.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from hypura_daemon.platforms.platform import current
from hypura_daemon.system.threads import in_own_thread


class Child:
    """One process, made by `started`. Its stdin stays open: when the daemon ends, it closes, and the child ends too."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.status: int | None = None  # Negative for a signal's number; None until it is collected.
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self._process = process
        self._transports: list[asyncio.ReadTransport] = []

    @classmethod
    async def started(cls, command: Sequence[str], environment: Mapping[str, str] | None = None) -> "Child":
        """Run the command. Raises OSError when it cannot be run."""
        child = cls(_opened(command, environment))
        try:
            loop = asyncio.get_running_loop()
            for reader, pipe in ((child.stdout, child._process.stdout), (child.stderr, child._process.stderr)):
                transport, _ = await loop.connect_read_pipe(lambda r=reader: asyncio.StreamReaderProtocol(r), pipe)  # type: ignore[misc]
                child._transports.append(transport)
        except BaseException:
            child.signal(signal.SIGKILL)
            child.close()
            raise
        return child

    def write(self, data: bytes) -> None:
        """Write to its standard input: no more than fits into a pipe, since it would block. Raises OSError."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group; nothing once it is collected. macOS returns EPERM for a group of zombies."""
        if self.status is not None:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    async def ended(self) -> int:
        """Wait for its end, kill what is left of its group, and collect it; returns its exit status."""
        if self.status is None:
            await in_own_thread(lambda: current().await_exit(self.pid), name=f"end of {self.pid}")
            self.signal(signal.SIGKILL)
            self.status = self._process.wait()
        return self.status

    def close(self) -> None:
        """Close this side of its pipes."""
        for transport in self._transports:
            transport.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _opened(command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=dict(environment) if environment is not None else None,
        start_new_session=True,
    )
