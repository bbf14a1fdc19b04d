"""Runs the system's own commands, with a deadline, and tells what they said."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypura_client.errors import ServiceFailed

COMMAND_SECONDS = 60.0


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
