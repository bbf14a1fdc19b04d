"""The daemon's place in the file system: one per home (a locked file), one per control socket."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypura.locations import REMEDIES, pid_path
from hypura_daemon.errors import SettingsError

CONNECT_SECONDS = 2.0


class AlreadyRunning(SettingsError):
    """Another daemon uses this home or this socket."""


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Lock the home for this process alone; the system releases the lock however the process ends.

    Raises AlreadyRunning with the other's pid, or SettingsError.
    """
    path = pid_path(home)
    try:
        for folder in (home, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _must_be_ours(home)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(_unusable(home, error)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise AlreadyRunning(f"hypurad runs already for the home {home}, with pid {pid}") from None
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise SettingsError(_unusable(home, error)) from error
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _unusable(home: Path, error: OSError) -> str:
    """Which path of the home cannot be used, why, and what to do."""
    remedy = REMEDIES.get(error.errno or 0, "correct that")
    return (
        f"the home {home} cannot be used: {error.filename or pid_path(home)}: {error.strerror}; {remedy}, "
        "or set HYPURA_HOME to a folder of yours that can be written"
    )


def prepare_socket(path: Path, *, private_folder: bool) -> None:
    """Make the socket's folder, 0700 unless the user chose it, and remove a socket on which no process answers.

    Raises AlreadyRunning when a daemon answers, SettingsError when the place cannot be used.
    """
    try:
        if private_folder:
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _must_be_ours(path.parent.parent)
            _make_private(path.parent)
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.lstat().st_mode if os.path.lexists(path) else 0
        if mode and not stat.S_ISSOCK(mode):
            raise SettingsError(f"{path} exists and is not a socket; remove it, or set HYPURA_SOCKET to another path")
        if mode and answers(path):
            raise AlreadyRunning(f"a hypurad answers on {path} already")
        path.unlink(missing_ok=True)
        _try(path)
    except OSError as error:
        raise SettingsError(
            f"the control socket {path} cannot be made: {error.filename or path}: {error.strerror}; "
            f"{REMEDIES.get(error.errno or 0, 'correct that')}, or set HYPURA_SOCKET to another path"
        ) from error


def _try(path: Path) -> None:
    """Make the socket and remove it again, since gRPC does not report why it cannot make one. Raises OSError."""
    before = os.umask(0o177)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.bind(str(path))
    finally:
        os.umask(before)
    path.unlink()


def answers(path: Path) -> bool:
    """Whether a process accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True  # A process listens, and is busy.
        except OSError as error:
            raise SettingsError(f"the control socket {path} cannot be used: {error}; set HYPURA_SOCKET") from error
    return True


def _must_be_ours(folder: Path) -> None:
    """Another user who may rename its contents could put another daemon or home there. Raises SettingsError."""
    mode, owners = folder.stat().st_mode, {folder.lstat().st_uid, folder.stat().st_uid}
    if not owners <= {os.getuid(), 0} or (mode & stat.S_IWOTH and not mode & stat.S_ISVTX):
        raise SettingsError(
            f"{folder} belongs to, or may be written by, another user; take that away (chmod o-w), or set HYPURA_HOME "
            "and HYPURA_SOCKET to folders of yours"
        )


def _make_private(folder: Path) -> None:
    """In a shared place such as /tmp, another user who owns the folder could watch or replace the socket."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError(f"{folder} is not a folder of yours; set HYPURA_SOCKET to a path in one that is")
    folder.chmod(0o700)
