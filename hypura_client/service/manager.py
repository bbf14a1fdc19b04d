"""Which service manager this system has."""

import os
import sys
from pathlib import Path

from hypura_client.service.commands import run_command
from hypura_client.service.interface import ServiceManager
from hypura_client.service.launchd import Launchd
from hypura_client.service.systemd import Systemd


def current() -> ServiceManager:
    """This system's."""
    if sys.platform == "darwin":
        return Launchd(run_command, Path.home() / "Library" / "LaunchAgents", os.getuid())
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Systemd(run_command, Path(config) / "systemd" / "user")
