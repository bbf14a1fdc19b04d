"""hypurad's definition as a service: the launchd agent or systemd units, filled in from the templates in launchd/."""

import os
import plistlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

LABEL = "org.hypura.hypurad"
_TEMPLATES = "hypura_service_files"


@dataclass(frozen=True, slots=True)
class Definition:
    """What the service manager runs.

    arguments: the program and its arguments. host, port: where the gateway listens; port 0: the service manager opens
    no socket. log_path: for what is written before the daemon's own log is open.
    """

    arguments: tuple[str, ...]
    host: str
    port: int
    log_path: Path


def plist(definition: Definition) -> bytes:
    """The launchd agent."""
    agent: dict[str, Any] = plistlib.loads(_template(f"{LABEL}.plist").encode())
    agent["ProgramArguments"] = list(definition.arguments)
    agent["StandardOutPath"] = agent["StandardErrorPath"] = str(definition.log_path)
    if definition.port:
        agent["Sockets"]["http"] |= {"SockNodeName": definition.host, "SockServiceName": str(definition.port)}
    else:
        del agent["Sockets"]
    return plistlib.dumps(agent, sort_keys=False)


def units(definition: Definition) -> Mapping[str, str]:
    """The systemd units, by file name."""
    command = " ".join(_unit_quoted(argument) for argument in definition.arguments)
    service = _filled("hypurad.service", {"HYPURAD": command})
    if not definition.port:
        return {"hypurad.service": service.replace("Also=hypurad.socket\n", "")}
    host = f"[{definition.host}]" if ":" in definition.host else definition.host
    return {
        "hypurad.service": service,
        "hypurad.socket": _filled("hypurad.socket", {"HOST:PORT": f"{host}:{definition.port}"}),
    }


def _unit_quoted(argument: str) -> str:
    """An argument as systemd's ExecStart reads it: % starts a specifier and $ a variable there."""
    return shlex.quote(argument).replace("%", "%%").replace("$", "$$")


def _filled(name: str, values: Mapping[str, str]) -> str:
    """The filled-in template; its comments keep the names of the placeholders."""
    lines = _template(name).splitlines(keepends=True)
    for key, value in values.items():
        lines = [line if line.startswith("#") else line.replace(key, value) for line in lines]
    return "".join(lines)


def _template(name: str) -> str:
    return resources.files(_TEMPLATES).joinpath(name).read_text("utf-8")


def write_file(path: Path, content: bytes) -> bool:
    """Writes the content to the file atomically. Returns False when the file had it already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return True
