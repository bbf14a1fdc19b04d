"""Removes what a daemon that was killed left behind: files that were being replaced, and its workers' sockets.

The home is locked when this runs, so no process writes to it, and half-written files there are not in use. A folder of
sockets may be shared with daemons of other homes, so a socket is removed only when the daemon whose process id its name
has is no longer running.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import structlog

from hypura_daemon.errors import SettingsError
from hypura_daemon.system.endpoint import answers

STATISTICS_SECONDS = 600.0
"""A worker whose daemon was killed may still write its statistics: its files are not touched for so long."""
_HALF_WRITTEN = re.compile(r"\..+\.[a-z0-9_]{8}", re.ASCII)
"""As files.py names them."""
_STATISTICS = re.compile(r"[0-9a-f]{24}[a-z0-9_]{8}", re.ASCII)
_WORKER_SOCKET = re.compile(r"([0-9a-f]{1,8})-[0-9a-f]{1,8}\.s", re.ASCII)
_FOLDERS = ("", "tuning", "manifests/*/*/*")
"""Of the home: where files are replaced."""

_log = structlog.get_logger()


def remove_leftovers(home: Path, sockets: Path) -> list[Path]:
    """Remove them, and return those that were removed; failures are only logged. The home must be locked."""
    found = (*_half_written(home), *_statistics(home / "experts"), *_dead_sockets(sockets))
    removed = []
    for path in found:
        try:
            path.unlink(missing_ok=True)
            removed.append(path)
        except OSError as error:
            _log.warning("a leftover cannot be removed", path=str(path), error=error.strerror)
    if removed:
        _log.info("removed what a killed daemon had left behind", count=len(removed))
    return removed


def _half_written(home: Path) -> Iterator[Path]:
    folders = (folder for pattern in _FOLDERS for folder in (home.glob(pattern) if pattern else (home,)))
    for folder in folders:
        yield from (path for path, _ in _ours(folder, _HALF_WRITTEN, stat.S_ISREG))


def _statistics(folder: Path) -> Iterator[Path]:
    for path, status in _ours(folder, _STATISTICS, stat.S_ISREG):
        if status.st_mtime < time.time() - STATISTICS_SECONDS:
            yield path


def _dead_sockets(folder: Path) -> Iterator[Path]:
    for path, status in _ours(folder, _WORKER_SOCKET, stat.S_ISSOCK):
        match = _WORKER_SOCKET.fullmatch(path.name)
        if match is not None and not _lives(int(match[1], 16), status.st_mtime) and not _answered(path):
            yield path


def _ours(folder: Path, name: re.Pattern[str], kind: Callable[[int], bool]) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of this user's in the folder that have such a name and are of this kind."""
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        _log.warning("a folder is not searched for leftovers", path=str(folder), error=error.strerror)
        return
    for path in entries:
        if not name.fullmatch(path.name):
            continue
        try:
            status = path.lstat()
        except OSError:
            continue  # It has just gone.
        if kind(status.st_mode) and status.st_uid == os.getuid():
            yield path, status


def _lives(pid: int, since_seconds: float) -> bool:
    """Whether the process that made a file then still runs; another, even this one, may have its id by now."""
    if pid == os.getpid():
        return False
    try:
        return psutil.Process(pid).create_time() <= since_seconds
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _answered(path: Path) -> bool:
    try:
        return answers(path)
    except SettingsError:
        return True  # Whether it is in use cannot be known.
