"""Every call of launchctl, by its argument list, against a fake that behaves as launchd does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import LABEL, Definition
from hypura_client.service.launchd import STATE_SECONDS, Launchd
from hypura_client.service.service_manager import Outcome

TARGET = f"gui/501/{LABEL}"
PRINTED = """gui/501/org.hypura.hypurad = {{
	active count = 1
	path = /Users/z/Library/LaunchAgents/org.hypura.hypurad.plist
	state = {state}
	last exit code = 1
{pid}}}
"""


class FakeLaunchd:
    """Loads, runs and ends one agent; bootout and kill take effect some calls later."""

    def __init__(self, *, slow_calls: int = 3, screen: bool = True, bootstrap_fails: bool = False) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.loaded = self.running = False
        self.seconds = 0.0
        self._slow_calls, self._screen, self._bootstrap_fails = slow_calls, screen, bootstrap_fails
        self._later: list[tuple[int, str]] = []

    def __call__(self, arguments: Sequence[str]) -> Outcome:
        self.calls.append(tuple(arguments))
        self._settle()
        program, verb, *rest = arguments
        assert program == "launchctl"
        match verb:
            case "print" if rest == ["gui/501"]:
                return Outcome(0 if self._screen else 125, "", "" if self._screen else "Domain does not support")
            case "print":
                if not self.loaded:
                    return Outcome(113, "", "Could not find service in domain")
                pid = "\tpid = 4711\n" if self.running else ""
                return Outcome(0, PRINTED.format(state="running" if self.running else "not running", pid=pid), "")
            case "bootstrap":
                if self.loaded or self._bootstrap_fails:
                    return Outcome(5, "", "Bootstrap failed: 5: Input/output error")
                self.loaded = self.running = True
            case "bootout":
                self._later.append((len(self.calls) + self._slow_calls, "bootout"))
                return Outcome(36, "", "Boot-out failed: 36: Operation now in progress")
            case "kickstart":
                self.running = True
            case "kill":
                self._later.append((len(self.calls) + self._slow_calls, "kill"))
        return Outcome(0, "", "")

    def pause(self, seconds: float) -> None:
        self.seconds += seconds

    def verbs(self) -> list[tuple[str, ...]]:
        """The calls that change something."""
        return [call[1:] for call in self.calls if call[1] != "print"]

    def _settle(self) -> None:
        for due, verb in [item for item in self._later if item[0] <= len(self.calls)]:
            self._later.remove((due, verb))
            self.running = False
            self.loaded = self.loaded and verb != "bootout"


def service(fake: FakeLaunchd, folder: Path) -> Launchd:
    return Launchd(fake, folder, 501, pause=fake.pause, clock=lambda: fake.seconds)


def definition(tmp_path: Path, port: int = 11434) -> Definition:
    return Definition(("/bin/hypurad",), "127.0.0.1", port, tmp_path / "logs" / "service.log")


def test_install_writes_enables_and_loads(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    assert service(fake, tmp_path).install(definition(tmp_path))
    file = tmp_path / f"{LABEL}.plist"
    assert fake.verbs() == [("enable", TARGET), ("bootstrap", "gui/501", str(file))]
    assert file.is_file() and (tmp_path / "logs").is_dir()


def test_install_again_changes_nothing(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    service(fake, tmp_path).install(definition(tmp_path))
    fake.calls.clear()
    assert not service(fake, tmp_path).install(definition(tmp_path))
    assert fake.verbs() == []


def test_a_changed_definition_waits_for_the_old_one_to_go(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    service(fake, tmp_path).install(definition(tmp_path))
    fake.calls.clear()
    assert service(fake, tmp_path).install(definition(tmp_path, port=8080))
    file = str(tmp_path / f"{LABEL}.plist")
    assert fake.verbs() == [("bootout", TARGET), ("enable", TARGET), ("bootstrap", "gui/501", file)]
    assert fake.loaded and fake.running


def test_without_a_screen_the_users_own_domain_is_used(tmp_path: Path) -> None:
    fake = FakeLaunchd(screen=False)
    service(fake, tmp_path).install(definition(tmp_path))
    assert ("bootstrap", "user/501", str(tmp_path / f"{LABEL}.plist")) in fake.verbs()


def test_a_bootstrap_that_never_works_is_explained(tmp_path: Path) -> None:
    fake = FakeLaunchd(bootstrap_fails=True)
    with pytest.raises(ServiceFailed, match="Input/output error"):
        service(fake, tmp_path).install(definition(tmp_path))
    assert fake.seconds > STATE_SECONDS


def test_stop_is_a_clean_end_that_is_waited_for(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    manager = service(fake, tmp_path)
    manager.install(definition(tmp_path))
    fake.calls.clear()
    manager.stop()
    assert fake.verbs() == [("kill", "SIGTERM", TARGET)]
    assert fake.loaded and not fake.running
    told = manager.status()
    assert told.installed and not told.running and told.detail == "not running, last exit code 1"
    fake.calls.clear()
    manager.stop()
    assert fake.verbs() == []


def test_start_and_restart_kickstart_the_agent(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    manager = service(fake, tmp_path)
    manager.install(definition(tmp_path))
    fake.calls.clear()
    manager.restart()
    assert fake.verbs() == [("kill", "SIGTERM", TARGET), ("kickstart", TARGET)]
    assert manager.status().pid == 4711
    fake.loaded = fake.running = False  # As after `launchctl bootout` by hand.
    fake.calls.clear()
    manager.start()
    file = str(tmp_path / f"{LABEL}.plist")
    assert fake.verbs() == [("bootstrap", "gui/501", file), ("kickstart", TARGET)]


def test_uninstall_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    fake = FakeLaunchd()
    manager = service(fake, tmp_path)
    manager.install(definition(tmp_path))
    assert manager.uninstall()
    assert not fake.loaded and not (tmp_path / f"{LABEL}.plist").exists()
    assert not manager.uninstall()


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_service_that_is_not_installed_is_reported(tmp_path: Path, verb: str) -> None:
    with pytest.raises(ServiceFailed, match="service install"):
        getattr(service(FakeLaunchd(), tmp_path), verb)()


def test_the_log_is_the_plists(tmp_path: Path) -> None:
    manager = service(FakeLaunchd(), tmp_path)
    manager.install(definition(tmp_path))
    log = str(tmp_path / "logs" / "service.log")
    daemon_log = str(tmp_path / "logs" / "daemon.log")
    assert manager.log_command(20, follow=False) == ["tail", "-n", "20", log, daemon_log]
    assert manager.log_command(20, follow=True) == ["tail", "-n", "20", "-F", log, daemon_log]
