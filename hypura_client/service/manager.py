"""The system's service manager, whichever it is: what it can do for hypurad, and how its commands are run."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import Definition

COMMAND_SECONDS = 60.0


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its words, for people."""
        return (self.err.strip() or self.out.strip() or f"it ended with code {self.code}").splitlines()[-1]


Runner = Callable[[Sequence[str]], Outcome]


def run_command(arguments: Sequence[str]) -> Outcome:
    """Run it to its end. Raises ServiceFailed when it is not there, or does not end."""
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
            f"{arguments[0]} is not there, so this system has no service manager that hypura knows; "
            "run `hypurad` by other means"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(f"`{' '.join(arguments)}` did not end within {COMMAND_SECONDS:g} s; try again") from error
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def must(run: Runner, *arguments: str) -> Outcome:
    """Run it. Raises ServiceFailed with its words when it fails."""
    outcome = run(arguments)
    if outcome.code != 0:
        raise ServiceFailed(f"`{' '.join(arguments)}` failed: {outcome.said}")
    return outcome
