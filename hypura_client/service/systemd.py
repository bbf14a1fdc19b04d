"""hypurad as a unit of systemd's user manager."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import Definition, units, write_file
from hypura_client.service.service_manager import NOT_INSTALLED, Outcome, Runner, ServiceStatus

SERVICE, SOCKET = "hypurad.service", "hypurad.socket"
_NO_MANAGER = ("Failed to connect to bus", "Failed to connect to user scope bus", "System has not been booted")


class Systemd:
    """The units of one user. folder: where the user's units are."""

    def __init__(self, run: Runner, folder: Path) -> None:
        self._run = run
        self._folder = folder

    def install(self, definition: Definition) -> bool:
        self._systemctl("is-system-running", accepted=None)
        wanted = units(definition)
        changed = [write_file(self._folder / name, text.encode()) for name, text in wanted.items()]
        if SOCKET not in wanted and (self._folder / SOCKET).exists():
            self._systemctl("disable", "--now", SOCKET)
            (self._folder / SOCKET).unlink()
            changed.append(True)
        if not any(changed) and self._shown("UnitFileState") == "enabled" and self.status().running:
            return False
        self._systemctl("daemon-reload")
        self._systemctl("enable", *wanted)
        if any(changed):
            # A socket cannot be changed while its service holds it.
            self._systemctl("stop", SERVICE, *(name for name in wanted if name == SOCKET))
        self._systemctl("start", *sorted(wanted, reverse=True))
        return True

    def uninstall(self) -> bool:
        files = self._files()
        if not files:
            return False
        self._systemctl("disable", "--now", *(file.name for file in files))
        for file in files:
            file.unlink()
        self._systemctl("daemon-reload")
        self._run(["systemctl", "--user", "reset-failed", SERVICE])  # Fails when there is nothing to reset.
        return True

    def start(self) -> None:
        self._check_installed()
        self._systemctl("start", SERVICE)

    def stop(self) -> None:
        # The socket too: otherwise the next request would start the daemon again.
        self._check_installed()
        self._systemctl("stop", *(file.name for file in self._files()))

    def restart(self) -> None:
        self._check_installed()
        self._systemctl("restart", SERVICE)

    def status(self) -> ServiceStatus:
        files = self._files()
        if not files:
            return ServiceStatus(False, False, 0, "not installed", ())
        state, pid = self._shown("ActiveState"), self._shown("MainPID")
        result = self._shown("Result")
        detail = f"{state} ({self._shown('SubState')})" + (f", {result}" if result not in ("", "success") else "")
        number = int(pid) if pid.isdecimal() else 0
        return ServiceStatus(True, number > 0, number, detail, files)

    def installed_arguments(self) -> Sequence[str]:
        file = self._folder / SERVICE
        if not file.exists():
            return ()
        lines = (line.partition("=") for line in file.read_text("utf-8").splitlines())
        command = next((value for key, _, value in lines if key == "ExecStart"), "")
        return shlex.split(command.replace("%%", "%").replace("$$", "$"))

    def log_command(self, lines: int, *, follow: bool) -> Sequence[str]:
        self._check_installed()
        return ["journalctl", "--user", "--unit", SERVICE, "--lines", str(lines), *(["--follow"] if follow else [])]

    def _files(self) -> tuple[Path, ...]:
        return tuple(path for name in (SOCKET, SERVICE) if (path := self._folder / name).exists())

    def _check_installed(self) -> None:
        if not self._files():
            raise ServiceFailed(NOT_INSTALLED)

    def _shown(self, name: str) -> str:
        return self._systemctl("show", SERVICE, "--property", name, "--value").out.strip()

    def _systemctl(self, *arguments: str, accepted: int | None = 0) -> Outcome:
        """Runs systemctl. accepted: the exit code of success; None when only the manager's presence matters."""
        outcome = self._run(["systemctl", "--user", *arguments])
        if any(words in outcome.err + outcome.out for words in _NO_MANAGER) or outcome.out.strip() == "offline":
            raise ServiceFailed(
                f"systemd's user manager cannot be reached ({outcome.message}); log in as this user "
                "(not by su or sudo), or run `hypurad` by other means"
            )
        if accepted is not None and outcome.code != accepted:
            raise ServiceFailed(f"`systemctl --user {' '.join(arguments)}` failed: {outcome.message}")
        return outcome
