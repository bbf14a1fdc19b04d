"""A measured process: started in its cgroup, read with deadlines, ended with its process group, its end explained."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hypura_client.errors import HypuraError, WorkerDied, WorkerFailed

_GRACE_SECONDS = 10.0
_DEATH_SECONDS = 30.0
_LAST_LINES_BYTES = 2000
_READ_BYTES = 65536


class Killed(HypuraError):
    """A SIGKILL that we did not send ended it: it exceeded its memory limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process, and the whole machine's processors, had used at one moment; None: not known here."""

    seconds: float
    system_seconds: float
    processor_seconds: float
    machine_seconds: float
    read_bytes: int | None
    written_bytes: int | None

    def others_share(self, later: Usage) -> float:
        """Share of the processors' time that other programs took from here to later, 0 to 1."""
        there = (later.seconds - self.seconds) * (os.cpu_count() or 1)
        others = later.machine_seconds - self.machine_seconds - (later.processor_seconds - self.processor_seconds)
        return min(1.0, max(0.0, others / there)) if there > 0 else 0.0


class MeasuredProcess:
    """`python -m module`, ended by leaving `with`. prefix: puts it into its cgroup.

    environment: added to this process's. folder: its own, for a socket, and removed with it.
    """

    def __init__(self, module: str, prefix: Sequence[str], environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hypura-"))
        self._buffered = b""
        self._stderr = (self.folder / "stderr").open("w+b")
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "GGML_NO_BACKTRACE": "1", **environment},
            start_new_session=True,
        )

    def send(self, data: bytes) -> None:
        """Writes to its standard input, which stays open: closing it ends the process. Raises what death() returns."""
        if self._process.stdin is None:
            raise WorkerFailed("the process was started without pipes")
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self.death() from error

    def line(self, seconds: float) -> bytes:
        """The next line of its standard output. Raises TimeoutError after `seconds`, and what death() returns."""
        if self._process.stdout is None:
            raise WorkerFailed("the process was started without pipes")
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffered:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            more = os.read(self._process.stdout.fileno(), _READ_BYTES)
            if not more:
                raise self.death()
            self._buffered += more
        line, _, self._buffered = self._buffered.partition(b"\n")
        return line

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def usage(self) -> Usage:
        """What it has used so far. Raises what death() returns."""
        import psutil  # only here: it costs every other command its import

        try:
            process = psutil.Process(self._process.pid)
            counters = process.io_counters() if hasattr(process, "io_counters") else None
            times, machine = process.cpu_times(), psutil.cpu_times()
        except psutil.Error as error:
            raise self.death() from error
        idle = machine.idle + getattr(machine, "iowait", 0.0) + getattr(machine, "guest", 0.0)
        return Usage(
            seconds=time.monotonic(),
            system_seconds=times.system,
            processor_seconds=times.user + times.system,
            machine_seconds=sum(machine) - idle,
            read_bytes=counters.read_bytes if counters is not None else None,
            written_bytes=counters.write_bytes if counters is not None else None,
        )

    def death(self) -> HypuraError:
        """The error that says how it ended; waits a moment for its end."""
        try:
            status = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return WorkerFailed(f"process {self._process.pid} runs but does not answer")
        if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return Killed(f"process {self._process.pid} was killed: it ran out of memory")
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _LAST_LINES_BYTES))
        last_lines = self._stderr.read().decode(errors="replace").strip()
        how = f"signal {-status}" if status < 0 else f"code {status}"
        return WorkerDied(f"process {self._process.pid} ended with {how}; its last lines: {last_lines or 'none'}")

    def close(self) -> None:
        """Ends it with its process group: SIGTERM, a grace time, SIGKILL."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._signal(signal.SIGTERM)
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(_GRACE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """Signals its group, unless the process has been collected: its id may belong to another then."""
        if self._process.returncode is not None:
            return
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # macOS answers EPERM for a group that has only zombies.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
