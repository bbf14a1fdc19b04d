"""The daemon's settings: flags, then HYPURA_… variables, then config.toml, then defaults.

A later source never overrides an earlier one. Where the home and the control socket lie is a rule that daemon and
clients share: hypura.locations.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hypura.durations import parse_duration
from hypura.locations import (
    DEFAULT_HTTP,
    HttpAddress,
    UnusableLocation,
    control_socket_path,
    home_path,
    log_path,
    parse_http,
    read_config,
)
from hypura.sizes import MAX_MEMORY_BYTES, parse_size
from hypura_daemon.errors import SettingsError
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.system.origins import checked_host, checked_origin

CLIENT_STALL_SECONDS = 60.0
STORES = ("ollama", "huggingface", "lm-studio")


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
    stores: tuple[str, ...] = ()  # Other programs' model stores that are searched.
    gateway: GatewaySettings = GatewaySettings()


def parse_stores(text: str) -> tuple[str, ...]:
    """all, none, or some of STORES with commas between. Raises ValueError for anything else."""
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words in (("all",), ("none",)):
        return STORES if words == ("all",) else ()
    if not words or any(word not in STORES for word in words):
        raise ValueError(f"give all, none, or some of {','.join(STORES)}")
    return words


def _size(value: object) -> object:
    return parse_size(value, most_bytes=MAX_MEMORY_BYTES) if isinstance(value, str) else value


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

    socket: str = ""
    http: Annotated[str, AfterValidator(_http)] = DEFAULT_HTTP
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
    keep_alive: Annotated[float, BeforeValidator(parse_duration)] = 300.0
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


def _explained(error: ValidationError, flags: Mapping[str, object], config: Mapping[str, object]) -> str:
    """The first error, with where the value was set."""
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
        return f"{source} is not a setting; the settings are {known}"
    value = flags.get(key, os.environ.get(f"HYPURA_{key.upper()}") or config.get(key))
    remedy = detail["msg"].removeprefix("Value error, ")
    return f"{source} is {value!r}: {remedy[:1].lower()}{remedy[1:]}"


def _log_file(home: Path, given: str, *, service: bool) -> Path | None:
    """The given file, or none for "off"; by default one in the home if a service manager runs the daemon."""
    if not given:
        return log_path(home) if service else None
    return None if given == "off" else Path(given).expanduser().absolute()


def load_settings(flags: Mapping[str, str | None]) -> Settings:
    """The settings; flags are "home", "service" (any text for yes: see _log_file) and the names in config.toml, as
    text. Raises SettingsError."""
    try:
        return _settings(flags)
    except UnusableLocation as error:
        raise SettingsError(str(error)) from error


def _settings(flags: Mapping[str, str | None]) -> Settings:
    environ = dict(os.environ)
    if flags.get("home"):
        environ["HYPURA_HOME"] = str(flags["home"])
    home = home_path(environ)
    try:
        os.fsencode(home).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the home {home!a} is not in UTF-8; set HYPURA_HOME to a path that is") from error
    given = {key: value for key, value in flags.items() if value is not None and key not in ("home", "service")}
    config = read_config(home)
    try:
        merged = _merge(given, config)
    except ValidationError as error:
        raise SettingsError(_explained(error, given, config)) from error
    if given.get("socket"):
        environ["HYPURA_SOCKET"] = merged.socket
    chosen = environ.get("HYPURA_SOCKET") or config.get("socket")
    return Settings(
        home=home,
        socket=control_socket_path(environ, os.getuid(), config),
        private_socket_folder=not chosen,
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
