"""Finds this system's service manager, and whether its installed service runs the daemon that a client connects to."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypura_client.discovery import Location
from hypura_client.service.launchd import Launchd
from hypura_client.service.service_manager import ServiceManager, run_command
from hypura_client.service.systemd import Systemd


def current() -> ServiceManager:
    """The service manager of this system."""
    if sys.platform == "darwin":
        return Launchd(run_command, Path.home() / "Library" / "LaunchAgents", os.getuid())
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Systemd(run_command, Path(config) / "systemd" / "user")


def service_starter(
    manager: ServiceManager, location: Location, environ: Mapping[str, str]
) -> Callable[[], None] | None:
    """A function that starts the service for this location; None where no service is installed, or for another home."""
    arguments = manager.installed_arguments()
    return manager.start if arguments and _serves(arguments, location, environ) else None


def _serves(arguments: Sequence[str], location: Location, environ: Mapping[str, str]) -> bool:
    """Whether the service serves this location: it has a home, and no socket but that home's. Pure."""
    if environ.get("HYPURA_SOCKET"):
        return False
    if "--home" in arguments[:-1]:
        return Path(arguments[arguments.index("--home") + 1]) == location.home
    return not environ.get("HYPURA_HOME")
