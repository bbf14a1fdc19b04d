"""Where the daemon's control socket is; the daemon's settings follow the same rule.

    HYPURA_SOCKET
    else `socket` in <home>/config.toml
    else, with HYPURA_HOME set, <home>/run/control.sock if that is 100 bytes or less
    else <runtime>/hypura[-<8 hex of sha256 of home> with HYPURA_HOME set]/control.sock

home is HYPURA_HOME, or the platform's user data folder; runtime is XDG_RUNTIME_DIR where that
exists, or hypura-<uid> in the folder for temporary files.
"""

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from hypura_client.errors import LocationError

# A socket's address has room for 108 bytes on Linux and 104 on macOS, the final zero included.
SOCKET_PATH_LIMIT_BYTES = 103
_HOME_SOCKET_LIMIT_BYTES = 100


@dataclass(frozen=True, slots=True)
class Location:
    """One daemon's place: its home folder and its control socket."""

    home: Path
    socket_path: Path

    @property
    def log_path(self) -> Path:
        return self.home / "logs" / "daemon.log"


def home_path(environ: Mapping[str, str]) -> Path:
    """The daemon's home folder."""
    home = environ.get("HYPURA_HOME")
    return _absolute(home) if home else platformdirs.user_data_path("hypura", appauthor=False)


def control_socket_path(
    environ: Mapping[str, str], uid: int, *, configured: str = "", temporary: Path | None = None
) -> Path:
    """The control socket's path; configured is config.toml's `socket`, temporary stands in for
    the system's folder for temporary files. Raises LocationError where no socket could be made."""
    explicit = environ.get("HYPURA_SOCKET") or configured
    if explicit:
        return _checked(_absolute(explicit))
    folder = "hypura"
    if environ.get("HYPURA_HOME"):
        home = home_path(environ)
        path = home / "run" / "control.sock"
        if len(os.fsencode(path)) <= _HOME_SOCKET_LIMIT_BYTES:
            return path
        folder = f"hypura-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or "")
    if not (runtime.is_absolute() and runtime.is_dir()):
        runtime = (temporary or _temporary_folder()) / f"hypura-{uid}"
    return _checked(runtime / folder / "control.sock")


def configured_socket(home: Path) -> str:
    """`socket` of home's config.toml; empty without one. Raises LocationError for a broken file."""
    path = home / "config.toml"
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return ""  # A home that is no folder is named where it is used.
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LocationError(f"{path} cannot be read: {error}; correct it or move it away") from error
    value = settings.get("socket", "")
    if not isinstance(value, str):
        raise LocationError(f'{path}: socket is {value!r}; it must be a path in quotes, "/…"')
    return value


def locate(environ: Mapping[str, str]) -> Location:
    """Where the daemon of this environment is."""
    home = home_path(environ)
    configured = "" if environ.get("HYPURA_SOCKET") else configured_socket(home)
    return Location(home, control_socket_path(environ, os.getuid(), configured=configured))


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise LocationError(
            f"no folder for temporary files can be written, so the control socket has no place: {error.strerror}; "
            "make room in one, or set HYPURA_SOCKET or TMPDIR to a place that can be written"
        ) from error


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise LocationError(f"{path} names no folder: {error}; write it in full") from error


def _checked(path: Path) -> Path:
    length_bytes = len(os.fsencode(path))
    if length_bytes > SOCKET_PATH_LIMIT_BYTES:
        raise LocationError(
            f"the control socket's path is {length_bytes} bytes long, and the system takes "
            f"{SOCKET_PATH_LIMIT_BYTES}: {path}; set HYPURA_SOCKET to a shorter one"
        )
    return path
