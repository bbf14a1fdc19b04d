"""Starting the daemon when none runs.

probe ──serving──► done            spawned ──exit 3──► another daemon started first: probe again
  └─absent─► spawn ─► spawned      spawned ──other exit──► error with the last lines of its log
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import IO

import grpc
from grpc_health.v1 import health_pb2

from hypura.locations import REMEDIES, pid_path
from hypura_client.channel import OPTIONS, target_of
from hypura_client.discovery import Location
from hypura_client.errors import CannotConnect, DaemonSilent, DaemonStartFailed

ALREADY_RUNNING_EXIT_CODE = 3
START_SECONDS = 30.0
SILENCE_SECONDS = 30.0
"""How long a daemon may accept connections without answering: the machine may be very busy."""
QUICK_SILENCE_SECONDS = 5.0
"""The same for commands that the daemon answers without work, so that they fail sooner."""
_PROBE_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_RESPAWN_SECONDS = 0.5
_LOG_LINES = 8
_ROOM_BYTES = 64 * 1024
"""About what a daemon writes at its first start."""


class Probe(Enum):
    """What a probe found at the socket."""

    ABSENT = "absent"
    NOT_SERVING = "not serving"
    SILENT = "silent"
    SERVING = "serving"


_BY_STATUS = {grpc.StatusCode.UNAVAILABLE: Probe.ABSENT, grpc.StatusCode.DEADLINE_EXCEEDED: Probe.SILENT}


def probe(socket_path: Path, timeout_seconds: float = _PROBE_SECONDS) -> Probe:
    """Asks the gRPC health service behind the socket."""
    if not socket_path.exists():
        return Probe.ABSENT
    with grpc.insecure_channel(target_of(socket_path), options=OPTIONS) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.RpcError as error:
            return _BY_STATUS.get(error.code(), Probe.NOT_SERVING)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return Probe.SERVING if serving else Probe.NOT_SERVING


def start_daemon(
    location: Location,
    environ: Mapping[str, str],
    *,
    start_seconds: float = START_SECONDS,
    silence_seconds: float = SILENCE_SECONDS,
    on_spawn: Callable[[], None] = lambda: None,
    start_service: Callable[[], None] | None = None,
) -> None:
    """Returns once a daemon serves at location, starting one unless HYPURA_NO_START is 1.

    start_service: starts the installed service that serves there; no other daemon is spawned then.
    Raises what start_service raises, CannotConnect when none runs and none may be started, DaemonStartFailed when the
    started daemon ends or does not serve within start_seconds, DaemonSilent when a running daemon does not answer for
    silence_seconds, and at once when a signal has stopped it.
    """
    if not environ.get("HYPURA_SOCKET"):
        _check_owner(location.socket_path)
    deadline = time.monotonic() + start_seconds
    child: subprocess.Popen[bytes] | None = None
    log_start_bytes = 0
    spawn_after = 0.0
    silent_after = time.monotonic() + silence_seconds
    while True:
        answer = probe(location.socket_path, min(_PROBE_SECONDS, silence_seconds))
        if answer is Probe.SERVING:
            return
        if answer is Probe.SILENT and child is None:
            check_running(location)
            if time.monotonic() >= silent_after:
                raise daemon_silent(location, silence_seconds)
        if child is None and answer is Probe.ABSENT:
            if environ.get("HYPURA_NO_START") == "1":
                raise CannotConnect(
                    f"no daemon answers at {location.socket_path}; start one with `hypurad`, "
                    "or unset HYPURA_NO_START so that hypuractl starts it"
                )
            if start_service is not None:
                on_spawn()
                start_service()
                start_service, spawn_after = None, deadline + 1.0
            elif time.monotonic() >= spawn_after:
                child, log_start_bytes = _spawn(location, environ)
                spawn_after = time.monotonic() + _RESPAWN_SECONDS
                on_spawn()
        elif child is not None and child.poll() is not None:
            if child.returncode != ALREADY_RUNNING_EXIT_CODE:
                raise DaemonStartFailed(_explain(child.returncode, location, log_start_bytes))
            child = None
        if time.monotonic() > deadline:
            raise DaemonStartFailed(
                f"the daemon at {location.socket_path} did not serve within {start_seconds:g} s "
                f"({'pid ' + str(child.pid) + ', still starting' if child else answer.value}); "
                f"its log is {location.log_path}" + _quoted(_last_lines(location.log_path, log_start_bytes))
            )
        time.sleep(_PAUSE_SECONDS)


def check_running(location: Location) -> None:
    """Raises DaemonSilent if a signal, or a debugger, has stopped the daemon of this home."""
    pid = _pid(location)
    if pid and _state(pid) in ("stopped", "tracing-stop"):
        raise DaemonSilent(
            f"the daemon at {location.socket_path} (pid {pid}) was stopped by a signal or a debugger, and does "
            f"not answer; continue it with `kill -CONT {pid}`"
        )


def daemon_silent(location: Location, seconds: float) -> DaemonSilent:
    """The error for a daemon that has not answered for these seconds."""
    pid = _pid(location)
    return DaemonSilent(
        f"the daemon at {location.socket_path}{f' (pid {pid})' if pid else ''} accepts connections but has not "
        f"answered for {seconds:g} s: the machine is too busy, or the daemon hangs; try again, "
        f"or end it with `kill {pid or 'PID'}`"
    )


def _pid(location: Location) -> int:
    """The process id that the daemon of this home has written down; 0 if there is none."""
    try:
        text = pid_path(location.home).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdecimal() else 0


def _state(pid: int) -> str:
    """A process's state by psutil's names; empty if there is no such process."""
    import psutil  # only here: it costs every other command its import

    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return ""


def _check_owner(socket_path: Path) -> None:
    """Raises CannotConnect where another user owns the place: in a shared temporary folder, anybody may make it first
    and read what is sent there."""
    for path in (socket_path, socket_path.parent, socket_path.parent.parent):
        if path.exists() and path.lstat().st_uid not in (os.getuid(), 0):
            raise CannotConnect(f"{path} belongs to another user; set HYPURA_SOCKET or HYPURA_HOME to a path of yours")


def _spawn(location: Location, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a daemon in a session of its own; returns it and the size of its log before."""
    child_environ = dict(environ)
    # The daemon runs in another folder, so relative paths are made absolute.
    if child_environ.get("HYPURA_HOME"):
        child_environ["HYPURA_HOME"] = str(location.home)
    if child_environ.get("HYPURA_SOCKET"):
        child_environ["HYPURA_SOCKET"] = str(location.socket_path)
    try:
        location.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        location.log_path.parent.mkdir(mode=0o700, exist_ok=True)
        with location.log_path.open("ab") as log:
            before_bytes = log.tell()
            _check_room(location.home)
            return _execute(child_environ, location.home, log), before_bytes
    except OSError as error:
        raise DaemonStartFailed(_unusable(location.home, error)) from error


def _check_room(home: Path) -> None:
    """Raises OSError where the home has no room for what a daemon writes at its start: the daemon itself has no place
    to report that."""
    try:
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(home)) from error


def _unusable(home: Path, error: OSError) -> str:
    """Which path cannot be used as a home, or in it, why, and what to do."""
    path = error.filename or home
    where = f" ({path})" if str(path) != str(home) else ""
    remedy = REMEDIES.get(error.errno or 0, "correct that")
    return (
        f"the daemon cannot be started with its home at {home}{where}: {error.strerror}; {remedy}, "
        "or set HYPURA_HOME to a folder that can be written"
    )


def _execute(environ: Mapping[str, str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "hypura_daemon", "--service"],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _explain(returncode: int, location: Location, log_start_bytes: int) -> str:
    how = f"signal {-returncode}" if returncode < 0 else f"code {returncode}"
    last_lines = _last_lines(location.log_path, log_start_bytes)
    if not last_lines:
        try:
            _check_room(location.home)
        except OSError as error:
            return _unusable(location.home, error)
    return f"the daemon was started and ended with {how}; its log is {location.log_path}" + _quoted(last_lines)


def _quoted(lines: list[str]) -> str:
    return ", its last lines:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""


def _last_lines(path: Path, start_bytes: int) -> list[str]:
    if not path.exists():
        return []  # A service's daemon may not have logged anything yet.
    with path.open("rb") as log:
        size_bytes = log.seek(0, os.SEEK_END)
        log.seek(max(start_bytes, size_bytes - 65536))
        return list(deque(log.read().decode("utf-8", "replace").splitlines(), maxlen=_LOG_LINES))
