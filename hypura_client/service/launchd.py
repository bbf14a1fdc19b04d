"""hypurad as a launchd agent, by launchctl's modern verbs.

The `launchd` package from PyPI has only the legacy load and unload, which report nothing when they fail. So plistlib
writes the plists, and launchctl is called as launchctl(1) describes bootstrap, bootout, kickstart, kill and print.
"""

import plistlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import LABEL, Definition, plist, write_file
from hypura_client.service.service_manager import NOT_INSTALLED, Runner, ServiceStatus, run_checked

STATE_SECONDS = 75.0
"""bootout returns before the agent has ended, and that may take its ExitTimeOut of 60 s."""
PAUSE_SECONDS = 0.25
DAEMON_LOG = "daemon.log"
"""Where a daemon with --service logs, in the folder of what it writes before."""


class Launchd:
    """The agent of one user. folder: the user's LaunchAgents; pause and clock: replaced in tests."""

    def __init__(
        self,
        run: Runner,
        folder: Path,
        uid: int,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._file = folder / f"{LABEL}.plist"
        self._uid = uid
        self._pause = pause
        self._clock = clock
        self._domain_found = ""

    @property
    def _domain(self) -> str:
        """The graphical session's domain; the user's own where no graphical session runs."""
        if not self._domain_found:
            gui = f"gui/{self._uid}"
            self._domain_found = gui if self._run(["launchctl", "print", gui]).code == 0 else f"user/{self._uid}"
        return self._domain_found

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def install(self, definition: Definition) -> bool:
        definition.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = write_file(self._file, plist(definition))
        if not changed and self._known():
            return False
        self._boot_out()
        run_checked(self._run, "launchctl", "enable", self._target)
        self._boot_in()
        return True

    def uninstall(self) -> bool:
        was_there = self._known() or self._file.exists()
        self._boot_out()
        self._file.unlink(missing_ok=True)
        return was_there

    def start(self) -> None:
        self._check_installed()
        if not self._known():
            self._boot_in()
        run_checked(self._run, "launchctl", "kickstart", self._target)

    def stop(self) -> None:
        # KeepAlive does not start it again after a clean end; bootout would also remove it from the next login.
        self._check_installed()
        if self.status().running:
            run_checked(self._run, "launchctl", "kill", "SIGTERM", self._target)
            self._until(lambda: not self.status().running, "end")

    def restart(self) -> None:
        self.stop()
        self.start()

    def status(self) -> ServiceStatus:
        printed = self._run(["launchctl", "print", self._target])
        files = (self._file,) if self._file.exists() else ()
        if printed.code != 0:
            return ServiceStatus(bool(files), False, 0, "not loaded" if files else "not installed", files)
        pid = re.search(r"^\s*pid = (\d+)$", printed.out, re.MULTILINE)
        state = re.search(r"^\s*state = (.+)$", printed.out, re.MULTILINE)
        last = re.search(r"^\s*last exit code = (.+)$", printed.out, re.MULTILINE)
        detail = (state[1] if state else "loaded") + (f", last exit code {last[1]}" if last and not pid else "")
        return ServiceStatus(bool(files), pid is not None, int(pid[1]) if pid else 0, detail, files)

    def installed_arguments(self) -> Sequence[str]:
        if not self._file.exists():
            return ()
        arguments: list[str] = plistlib.loads(self._file.read_bytes())["ProgramArguments"]
        return arguments

    def log_command(self, lines: int, *, follow: bool) -> Sequence[str]:
        self._check_installed()
        before = Path(plistlib.loads(self._file.read_bytes())["StandardErrorPath"])
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), str(before), str(before.with_name(DAEMON_LOG))]

    def _check_installed(self) -> None:
        if not self._file.exists():
            raise ServiceFailed(NOT_INSTALLED)

    def _known(self) -> bool:
        return self._run(["launchctl", "print", self._target]).code == 0

    def _boot_in(self) -> None:
        """Loads the agent. bootstrap fails (codes 5 and 37) while the previous one is ending, so it is repeated."""
        message = ""

        def loaded() -> bool:
            nonlocal message
            outcome = self._run(["launchctl", "bootstrap", self._domain, str(self._file)])
            message = outcome.message
            return outcome.code == 0 or self._known()

        self._until(loaded, "be loaded", lambda: f": {message}")

    def _boot_out(self) -> None:
        if self._known():
            # Its exit code says little; what counts is that the agent is gone.
            self._run(["launchctl", "bootout", self._target])
            self._until(lambda: not self._known(), "go")

    def _until(self, done: Callable[[], bool], what: str, why: Callable[[], str] = lambda: "") -> None:
        deadline = self._clock() + STATE_SECONDS
        while not done():
            if self._clock() > deadline:
                raise ServiceFailed(
                    f"{LABEL} did not {what} within {STATE_SECONDS:g} s{why()}; see `launchctl print {self._target}`"
                )
            self._pause(PAUSE_SECONDS)
