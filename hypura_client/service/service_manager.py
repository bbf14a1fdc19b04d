"""The system's service manager, whichever it is: what it can do for hypurad, and how its commands are run."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import Definition

COMMAND_SECONDS = 60.0
NOT_INSTALLED = "hypurad is not installed as a service; `hypuractl service install` does that"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """hypurad's state as a service. pid: 0 when it does not run; detail: as the service manager reports it."""

    installed: bool
    running: bool
    pid: int
    detail: str
    files: tuple[Path, ...]


class ServiceManager(Protocol):
    """launchd or systemd. Every method raises ServiceFailed with the manager's message; all may be repeated."""

    def install(self, definition: Definition) -> bool:
        """Writes the definition and runs hypurad now and at every login; False when it was installed so already."""

    def uninstall(self) -> bool:
        """Stops hypurad and removes the service; False when it was not installed."""

    def start(self) -> None:
        """Starts hypurad."""

    def stop(self) -> None:
        """Stops hypurad, running answers included, until it is started or the user logs in again."""

    def restart(self) -> None:
        """Stops hypurad and starts it again."""

    def status(self) -> ServiceStatus:
        """Whether hypurad is installed and runs."""

    def installed_arguments(self) -> Sequence[str]:
        """The program and its arguments, as installed; empty when it is not installed. Only reads files."""

    def log_command(self, lines: int, *, follow: bool) -> Sequence[str]:
        """The command that shows the log."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What the command reported, for people: its last line."""
        return (self.err.strip() or self.out.strip() or f"it ended with code {self.code}").splitlines()[-1]


Runner = Callable[[Sequence[str]], Outcome]


def run_command(arguments: Sequence[str]) -> Outcome:
    """Runs a command to its end. Raises ServiceFailed when it does not exist, or does not end."""
    try:
        ended = subprocess.run(
            list(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError as error:
        raise ServiceFailed(
            f"{arguments[0]} does not exist, so this system has no service manager that hypura knows; "
            "run `hypurad` by other means"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(f"`{' '.join(arguments)}` did not end within {COMMAND_SECONDS:g} s; try again") from error
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def run_checked(run: Runner, *arguments: str) -> Outcome:
    """Runs a command. Raises ServiceFailed with its message when it fails."""
    outcome = run(arguments)
    if outcome.code != 0:
        raise ServiceFailed(f"`{' '.join(arguments)}` failed: {outcome.message}")
    return outcome
