"""This system's service manager, and whether the service it has installed is the daemon that a client wants."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypura_client.discovery import Location
from hypura_client.service.launchd import Launchd
from hypura_client.service.manager import ServiceManager, run_command
from hypura_client.service.systemd import Systemd


def current() -> ServiceManager:
    """This system's."""
    if sys.platform == "darwin":
        return Launchd(run_command, Path.home() / "Library" / "LaunchAgents", os.getuid())
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Systemd(run_command, Path(config) / "systemd" / "user")


def service_starter(
    manager: ServiceManager, location: Location, environ: Mapping[str, str]
) -> Callable[[], None] | None:
    """What starts the service that serves this location; None where none is installed, or it serves another home."""
    arguments = manager.installed_arguments()
    return manager.start if arguments and _serves(arguments, location, environ) else None


def _serves(arguments: Sequence[str], location: Location, environ: Mapping[str, str]) -> bool:
    """The service has a home of its own or the platform's, and no socket but that home's. Pure."""
    if environ.get("HYPURA_SOCKET"):
        return False
    if "--home" in arguments[:-1]:
        return Path(arguments[arguments.index("--home") + 1]) == location.home
    return not environ.get("HYPURA_HOME")
