"""What a service manager can do for hypurad, whichever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypura_client.service.definition import Definition


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the service manager says of hypurad. pid: 0 when it does not run; detail: the manager's own words."""

    installed: bool
    running: bool
    pid: int
    detail: str
    files: tuple[Path, ...]


class ServiceManager(Protocol):
    """launchd or systemd. Every method raises ServiceFailed with the manager's words; all may be repeated."""

    def install(self, definition: Definition) -> bool:
        """Write the definition and have hypurad run now and at every login; False when all was so already."""

    def uninstall(self) -> bool:
        """End hypurad and forget it; False when it was not installed."""

    def start(self) -> None:
        """Run it now."""

    def stop(self) -> None:
        """End it, answers that run included, until it is started or the user logs in again."""

    def restart(self) -> None:
        """End it and run it again."""

    def status(self) -> ServiceStatus:
        """How it is."""

    def installed_arguments(self) -> Sequence[str]:
        """The program and its arguments, as installed; empty when it is not installed. Asks nobody but the files."""

    def log_command(self, lines: int, *, follow: bool) -> Sequence[str]:
        """The command that shows the log."""
