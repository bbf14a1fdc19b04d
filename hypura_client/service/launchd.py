"""hypurad as a launchd agent, by launchctl's modern verbs.

The `launchd` package from PyPI knows the legacy load and unload alone, which tell nothing when they fail; so plists
are written by plistlib and launchctl is called as launchctl(1) describes bootstrap, bootout, kickstart, kill, print.
"""

import plistlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import LABEL, Definition, plist, written
from hypura_client.service.manager import Runner, ServiceStatus, must

SETTLE_SECONDS = 75.0
"""bootout returns before the agent has ended, and that may take its ExitTimeOut of 60 s."""
PAUSE_SECONDS = 0.25
DAEMON_LOG = "daemon.log"
"""Where a daemon with --service logs, beside what it said before."""
NOT_INSTALLED = "hypurad is not installed as a service; `hypuractl service install` does that"


class Launchd:
    """The agent of one user. folder: his LaunchAgents; pause and clock: to be replaced where time shall not pass."""

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
        """The graphical session's domain; the user's own where nobody is logged in at the screen."""
        if not self._domain_found:
            gui = f"gui/{self._uid}"
            self._domain_found = gui if self._run(["launchctl", "print", gui]).code == 0 else f"user/{self._uid}"
        return self._domain_found

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def install(self, definition: Definition) -> bool:
        definition.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = written(self._file, plist(definition))
        if not changed and self._known():
            return False
        self._boot_out()
        must(self._run, "launchctl", "enable", self._target)
        self._boot_in()
        return True

    def uninstall(self) -> bool:
        was_there = self._known() or self._file.exists()
        self._boot_out()
        self._file.unlink(missing_ok=True)
        return was_there

    def start(self) -> None:
        self._must_exist()
        if not self._known():
            self._boot_in()
        must(self._run, "launchctl", "kickstart", self._target)

    def stop(self) -> None:
        # A clean end is not started again by KeepAlive; bootout would take the agent from the next login, too.
        self._must_exist()
        if self.status().running:
            must(self._run, "launchctl", "kill", "SIGTERM", self._target)
            self._until(lambda: not self.status().running, "end")

    def restart(self) -> None:
        self.stop()
        self.start()

    def status(self) -> ServiceStatus:
        told = self._run(["launchctl", "print", self._target])
        files = (self._file,) if self._file.exists() else ()
        if told.code != 0:
            return ServiceStatus(bool(files), False, 0, "not loaded" if files else "not installed", files)
        pid = re.search(r"^\s*pid = (\d+)$", told.out, re.MULTILINE)
        state = re.search(r"^\s*state = (.+)$", told.out, re.MULTILINE)
        last = re.search(r"^\s*last exit code = (.+)$", told.out, re.MULTILINE)
        detail = (state[1] if state else "loaded") + (f", last exit code {last[1]}" if last and not pid else "")
        return ServiceStatus(bool(files), pid is not None, int(pid[1]) if pid else 0, detail, files)

    def installed_arguments(self) -> Sequence[str]:
        if not self._file.exists():
            return ()
        arguments: list[str] = plistlib.loads(self._file.read_bytes())["ProgramArguments"]
        return arguments

    def log_command(self, lines: int, *, follow: bool) -> Sequence[str]:
        self._must_exist()
        before = Path(plistlib.loads(self._file.read_bytes())["StandardErrorPath"])
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), str(before), str(before.with_name(DAEMON_LOG))]

    def _must_exist(self) -> None:
        if not self._file.exists():
            raise ServiceFailed(NOT_INSTALLED)

    def _known(self) -> bool:
        return self._run(["launchctl", "print", self._target]).code == 0

    def _boot_in(self) -> None:
        """While the one before is still ending, bootstrap fails (codes 5 and 37): so it is tried again."""
        said = ""

        def tried() -> bool:
            nonlocal said
            outcome = self._run(["launchctl", "bootstrap", self._domain, str(self._file)])
            said = outcome.said
            return outcome.code == 0 or self._known()

        self._until(tried, "be loaded", lambda: f": {said}")

    def _boot_out(self) -> None:
        if self._known():
            self._run(["launchctl", "bootout", self._target])  # Its code says little: what counts is that it goes.
            self._until(lambda: not self._known(), "go")

    def _until(self, done: Callable[[], bool], what: str, why: Callable[[], str] = lambda: "") -> None:
        deadline = self._clock() + SETTLE_SECONDS
        while not done():
            if self._clock() > deadline:
                raise ServiceFailed(
                    f"{LABEL} did not {what} within {SETTLE_SECONDS:g} s{why()}; see `launchctl print {self._target}`"
                )
            self._pause(PAUSE_SECONDS)
