"""Where the daemon keeps its files and where it listens: the rules by which daemon and clients find each other.

home       HYPURA_HOME, else the platform's folder for user data
settings   <home>/config.toml
socket     HYPURA_SOCKET
           else `socket` in config.toml, relative to the home
           else, with HYPURA_HOME set, <home>/run/control.sock if that is 100 bytes or less
           else <runtime>/hypura[-<8 hex of sha256 of home> with HYPURA_HOME set]/control.sock
runtime    XDG_RUNTIME_DIR where that is the absolute path of a folder, else hypura-<uid> in the folder for
           temporary files
gateway    `http` in config.toml: HOST:PORT or off
"""

import errno
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

SOCKET_PATH_LIMIT_BYTES = 103
"""A socket's address has room for 108 bytes on Linux and 104 on macOS, the final zero included."""
_HOME_SOCKET_LIMIT_BYTES = 100
DEFAULT_HTTP = "127.0.0.1:11434"
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)
_NO_ROOM = "make room on that drive (its bytes, its inodes or this user's quota are used up)"
REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: "mount that file system for writing",
    errno.EACCES: "correct its permissions",
    errno.EPERM: "correct its permissions",
    errno.ENOTDIR: "move the file away that is where a folder must be",
    errno.EEXIST: "move the file away that is where a folder must be",
}
"""What to do when a folder or file of the home cannot be written, by the system's error number."""


class UnusableLocation(ValueError):
    """A variable or setting names a place that cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the HTTP gateway listens."""

    host: str
    port: int


def home_path(environ: Mapping[str, str]) -> Path:
    """The daemon's home folder. Raises UnusableLocation for a HYPURA_HOME that names no folder."""
    home = environ.get("HYPURA_HOME")
    return _expanded(home).absolute() if home else platformdirs.user_data_path("hypura", appauthor=False)


def pid_path(home: Path) -> Path:
    """The file that the running daemon of this home locks and writes its process id to."""
    return home / "run" / "daemon.pid"


def log_path(home: Path) -> Path:
    """The log of a daemon that runs unattended."""
    return home / "logs" / "daemon.log"


def read_config(home: Path) -> dict[str, Any]:
    """What the home's config.toml sets; nothing where there is none. Raises UnusableLocation for a broken file."""
    path = home / "config.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}  # A home that is not a folder is reported where it is used.
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableLocation(f"{path} cannot be read: {error}; make it a readable UTF-8 file") from error
    except tomllib.TOMLDecodeError as error:
        raise UnusableLocation(f"{path} is not valid TOML: {error}; correct it or move it away") from error


def control_socket_path(
    environ: Mapping[str, str],
    uid: int,
    config: Mapping[str, object],
    *,
    temporary_folder: Path | None = None,
) -> Path:
    """The control socket's path. config is what config.toml sets; temporary_folder replaces the system's.

    Raises UnusableLocation where no socket can be made, and for a setting that is not a path.
    """
    if explicit := environ.get("HYPURA_SOCKET"):
        return _checked(_expanded(explicit).absolute())
    configured = config.get("socket", "")
    if not isinstance(configured, str):
        raise UnusableLocation(f'socket in config.toml is {configured!r}; it must be a path in quotes, "/…"')
    if configured:
        return _checked(home_path(environ) / _expanded(configured))
    folder = "hypura"
    if environ.get("HYPURA_HOME"):
        home = home_path(environ)
        path = home / "run" / "control.sock"
        if len(os.fsencode(path)) <= _HOME_SOCKET_LIMIT_BYTES:
            return path
        folder = f"hypura-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or "")
    if not (runtime.is_absolute() and runtime.is_dir()):
        runtime = (temporary_folder or _temporary_folder()) / f"hypura-{uid}"
    return _checked(runtime / folder / "control.sock")


def parse_http(text: str) -> HttpAddress | None:
    """HOST:PORT, with an IPv6 host in brackets; None for "off". Raises ValueError for anything else."""
    if text.strip().lower() == "off":
        return None
    host, colon, port_text = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not _HOST.fullmatch(host) or not re.fullmatch(r"\d{1,5}", port_text, re.ASCII):
        raise ValueError("give HOST:PORT, such as 127.0.0.1:11434 or [::1]:11434, or off")
    if int(port_text) > 65535:
        raise ValueError("give a port from 0 to 65535")
    return HttpAddress(host, int(port_text))


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UnusableLocation(
            f"no folder for temporary files can be written, so the control socket has no place: {error.strerror}; "
            "make room in one, or set HYPURA_SOCKET or TMPDIR to a place that can be written"
        ) from error


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UnusableLocation(f"{path} names no folder: {error}; write it in full") from error


def _checked(path: Path) -> Path:
    length_bytes = len(os.fsencode(path))
    if length_bytes > SOCKET_PATH_LIMIT_BYTES:
        raise UnusableLocation(
            f"the control socket's path is {length_bytes} bytes long, and the system takes at most "
            f"{SOCKET_PATH_LIMIT_BYTES}: {path}; set HYPURA_SOCKET to a shorter path"
        )
    return path
