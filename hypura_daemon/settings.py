"""The daemon's settings: flags, then HYPURA_… variables, then config.toml, then defaults.

A later source never overrides an earlier one. Where the control socket lies follows one rule, which
the clients know as well (`control_socket_path`): a unix socket's path must stay short.
"""

import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hypura_daemon.durations import parse_keep_alive
from hypura_daemon.errors import SettingsError
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.system.origins import checked_host, checked_origin

MAX_SOCKET_PATH_BYTES = 100  # sun_path holds 104 bytes on macOS and 108 on Linux.
MAX_MEMORY_BYTES = 1 << 50
CLIENT_STALL_SECONDS = 60.0
STORES = ("ollama", "huggingface", "lm-studio")
UNIT_BYTES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-zA-Z]*)\s*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the HTTP gateway listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Who may use the HTTP gateway: api_key empty for none; hosts and origins beyond this machine's own."""

    api_key: str = field(default="", repr=False)
    allow_anonymous: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    body_limit_bytes: int = 128 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What the daemon runs with."""

    home: Path
    socket: Path
    private_socket_folder: bool  # Its folder is hypura's own, not one that the user chose.
    http: HttpAddress | None  # None: no gateway.
    memory_budget_bytes: int | None  # None: a share of what is free at the start.
    context_tokens: int
    sequences: int
    log_level: str
    grace_seconds: float
    worker_start_seconds: float
    load_stall_seconds: float
    answer_stall_seconds: float
    reload_wait_seconds: float
    worker_deaf_seconds: float = 14.0
    client_stall_seconds: float = CLIENT_STALL_SECONDS
    connections: int = 1024
    log_file: Path | None = None  # Beside, or instead of, standard error.
    log_content: bool = False
    preload: tuple[str, ...] = ()
    rules: Rules = Rules()  # noqa: RUF009 - it is frozen
    stores: tuple[str, ...] = ()  # Of others' models: which are looked at.
    gateway: GatewaySettings = GatewaySettings()


def parse_bytes(text: str) -> int:
    """A size such as "4GB" (10^9), "1.5GiB" (2^30) or "2000000000", in bytes; ValueError if it is none."""
    match = _SIZE.fullmatch(text)
    unit = UNIT_BYTES.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ValueError("give a size such as 4GB, 512MB or 1.5GiB")
    size_bytes = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if not 1 <= size_bytes <= MAX_MEMORY_BYTES:
        raise ValueError(f"give a size from 1 byte to {MAX_MEMORY_BYTES} bytes")
    return size_bytes


def parse_http(text: str) -> HttpAddress | None:
    """HOST:PORT, with an IPv6 host in brackets, or "off"; ValueError if it is none."""
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


def parse_stores(text: str) -> tuple[str, ...]:
    """all, none, or some of STORES with commas between; ValueError if it is none of these."""
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words in (("all",), ("none",)):
        return STORES if words == ("all",) else ()
    if not words or any(word not in STORES for word in words):
        raise ValueError(f"give all, none, or some of {','.join(STORES)}")
    return words


def default_home(environ: Mapping[str, str]) -> Path:
    """The home folder: HYPURA_HOME, or the platform's folder for user data."""
    if given := environ.get("HYPURA_HOME"):
        return Path(given).expanduser().absolute()
    return platformdirs.user_data_path("hypura")


def runtime_folder(environ: Mapping[str, str], uid: int) -> Path:
    """The folder that sockets go to unless a home says otherwise."""
    given = environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir():
        return Path(given)
    try:
        return Path(tempfile.gettempdir()) / f"hypura-{uid}"
    except FileNotFoundError as error:
        raise SettingsError(
            f"no folder for temporary files can be written, so the control socket has no place: {error.strerror}; "
            "make room in one, or set HYPURA_SOCKET or TMPDIR to a place that can be written"
        ) from error


def control_socket_path(environ: Mapping[str, str], uid: int) -> Path:
    """The control socket: HYPURA_SOCKET, else below HYPURA_HOME if short enough, else in the runtime folder."""
    if given := environ.get("HYPURA_SOCKET"):
        return Path(given).expanduser().absolute()
    runtime = runtime_folder(environ, uid)
    if not environ.get("HYPURA_HOME"):
        return runtime / "hypura" / "control.sock"
    home = default_home(environ)
    socket = home / "run" / "control.sock"
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES:
        return socket
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return runtime / f"hypura-{digest}" / "control.sock"


def _size(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _http(value: str) -> str:
    parse_http(value)
    return value


def _stores(value: str) -> str:
    parse_stores(value)
    return value


def _words(value: object) -> object:
    """A list in the file, words with commas between elsewhere."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(checked_origin(value) for value in values)


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(checked_host(value) for value in values)


def _level(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class _Sources(BaseSettings):
    """The names that may be set, and their ranges."""

    model_config = SettingsConfigDict(env_prefix="HYPURA_", env_ignore_empty=True, extra="forbid")

    socket: Path | None = None
    http: Annotated[str, AfterValidator(_http)] = "127.0.0.1:11434"
    memory: Annotated[int, Field(ge=1, le=MAX_MEMORY_BYTES), BeforeValidator(_size)] | None = None
    context: Annotated[int, Field(ge=1, le=1 << 24)] = 4096
    sequences: Annotated[int, Field(ge=1, le=256)] = 4
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = "info"
    log_file: str = ""
    log_content: bool = False
    preload: Words = ()
    grace_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 10.0
    worker_start_seconds: Seconds = 60.0
    load_stall_seconds: Seconds = 180.0
    answer_stall_seconds: Seconds = 900.0
    worker_deaf_seconds: Seconds = 14.0
    reload_wait_seconds: Seconds = 60.0
    client_stall_seconds: Seconds = CLIENT_STALL_SECONDS
    connections: Annotated[int, Field(ge=4, le=60000)] = 1024
    load_wait_seconds: Seconds = 120.0
    turn_wait_seconds: Seconds = 20.0
    min_residency_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 10.0
    keep_alive: Annotated[float, BeforeValidator(parse_keep_alive)] = 300.0
    stores: Annotated[str, AfterValidator(_stores)] = "all"
    http_api_key: str = ""
    http_allow_anonymous: bool = False
    http_hosts: Annotated[Words, AfterValidator(_hosts)] = ()
    http_origins: Annotated[Words, AfterValidator(_origins)] = ()
    http_body: Annotated[int, Field(ge=1, le=MAX_MEMORY_BYTES), BeforeValidator(_size)] = 128 << 20


def _merge(flags: Mapping[str, Any], config: dict[str, Any]) -> _Sources:
    """Flags over the environment over the file."""

    class Sources(_Sources):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, config)

    return Sources(**flags)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}  # A home that is no folder is named where it is used.
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; make it a readable UTF-8 file") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}; correct or remove it") from error


def _explained(error: ValidationError, flags: Mapping[str, object], config: Mapping[str, object]) -> str:
    """The first defect, with where it was set."""
    detail = error.errors(include_url=False)[0]
    key = str(detail["loc"][0])
    if key in flags:
        source = f"--{key.replace('_', '-')}"
    elif os.environ.get(f"HYPURA_{key.upper()}"):
        source = f"HYPURA_{key.upper()}"
    else:
        source = f'"{key}" in config.toml'
    if detail["type"] == "extra_forbidden":
        known = ", ".join(sorted(_Sources.model_fields))
        return f"{source} is no setting; the settings are {known}"
    value = flags.get(key, os.environ.get(f"HYPURA_{key.upper()}") or config.get(key))
    remedy = detail["msg"].removeprefix("Value error, ")
    return f"{source} is {value!r}: {remedy[:1].lower()}{remedy[1:]}"


def _log_file(home: Path, given: str, *, service: bool) -> Path | None:
    """The file that was given, or none for "off"; else one in the home where nobody keeps standard error in bounds."""
    if not given:
        return home / "logs" / "daemon.log" if service else None
    return None if given == "off" else Path(given).expanduser().absolute()


def load_settings(flags: Mapping[str, str | None]) -> Settings:
    """The settings; flags are "home", "service" (any text for yes: see _log_file) and the names in config.toml, as
    text. Raises SettingsError."""
    environ = dict(os.environ)
    if flags.get("home"):
        environ["HYPURA_HOME"] = str(flags["home"])
    home = default_home(environ)
    try:
        os.fsencode(home).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the home {home!a} is not in UTF-8; set HYPURA_HOME to a path that is") from error
    given = {key: value for key, value in flags.items() if value is not None and key not in ("home", "service")}
    config = _read_config(home / "config.toml")
    try:
        merged = _merge(given, config)
    except ValidationError as error:
        raise SettingsError(_explained(error, given, config)) from error
    if merged.socket is not None:
        environ["HYPURA_SOCKET"] = str(merged.socket)
    socket = control_socket_path(environ, os.getuid())
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"the control socket's path {socket} is longer than {MAX_SOCKET_PATH_BYTES} bytes; "
            "set HYPURA_SOCKET to a shorter one"
        )
    return Settings(
        home=home,
        socket=socket,
        private_socket_folder=merged.socket is None,
        http=parse_http(merged.http),
        memory_budget_bytes=merged.memory,
        context_tokens=merged.context,
        sequences=merged.sequences,
        log_level=merged.log_level,
        log_file=_log_file(home, merged.log_file, service=bool(flags.get("service"))),
        log_content=merged.log_content,
        preload=merged.preload,
        grace_seconds=merged.grace_seconds,
        worker_start_seconds=merged.worker_start_seconds,
        load_stall_seconds=merged.load_stall_seconds,
        answer_stall_seconds=merged.answer_stall_seconds,
        worker_deaf_seconds=merged.worker_deaf_seconds,
        reload_wait_seconds=merged.reload_wait_seconds,
        client_stall_seconds=merged.client_stall_seconds,
        connections=merged.connections,
        rules=Rules(
            keep_alive_seconds=merged.keep_alive,
            load_wait_seconds=merged.load_wait_seconds,
            turn_wait_seconds=merged.turn_wait_seconds,
            min_residency_seconds=merged.min_residency_seconds,
        ),
        stores=parse_stores(merged.stores),
        gateway=GatewaySettings(
            api_key=merged.http_api_key,
            allow_anonymous=merged.http_allow_anonymous,
            hosts=merged.http_hosts,
            origins=merged.http_origins,
            body_limit_bytes=merged.http_body,
        ),
    )
