"""Every call of systemctl, by its argument list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hypura_client.errors import ServiceFailed
from hypura_client.service.definition import Definition
from hypura_client.service.service_manager import Outcome
from hypura_client.service.systemd import Systemd

READING = ("show", "is-system-running")


class FakeSystemd:
    """Enables, runs and ends one service."""

    def __init__(self, said: str = "") -> None:
        self.calls: list[tuple[str, ...]] = []
        self.enabled = self.running = False
        self._said = said

    def __call__(self, arguments: Sequence[str]) -> Outcome:
        program, scope, verb, *rest = arguments
        assert (program, scope) == ("systemctl", "--user")
        self.calls.append((verb, *rest))
        if self._said:
            return Outcome(1, "", self._said)
        match verb:
            case "enable":
                self.enabled = True
            case "disable":
                self.enabled = self.running = False
            case "start" | "restart":
                self.running = True
            case "stop":
                self.running = False
            case "show":
                return Outcome(0, self._shown(rest[2]) + "\n", "")
            case "is-system-running":
                return Outcome(1, "degraded\n", "")
        return Outcome(0, "", "")

    def verbs(self) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[0] not in READING]

    def _shown(self, name: str) -> str:
        return {
            "UnitFileState": "enabled" if self.enabled else "disabled",
            "ActiveState": "active" if self.running else "inactive",
            "SubState": "running" if self.running else "dead",
            "MainPID": "4711" if self.running else "0",
            "Result": "success",
        }[name]


def definition(tmp_path: Path, port: int = 11434) -> Definition:
    return Definition(("/bin/hypurad",), "127.0.0.1", port, tmp_path / "service.log")


def test_install_enables_and_starts_both_units(tmp_path: Path) -> None:
    fake = FakeSystemd()
    assert Systemd(fake, tmp_path).install(definition(tmp_path))
    assert fake.verbs() == [
        ("daemon-reload",),
        ("enable", "hypurad.service", "hypurad.socket"),
        ("stop", "hypurad.service", "hypurad.socket"),
        ("start", "hypurad.socket", "hypurad.service"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"hypurad.service", "hypurad.socket"}


def test_install_again_changes_nothing(tmp_path: Path) -> None:
    fake = FakeSystemd()
    Systemd(fake, tmp_path).install(definition(tmp_path))
    fake.calls.clear()
    assert not Systemd(fake, tmp_path).install(definition(tmp_path))
    assert fake.verbs() == []


def test_a_gateway_that_was_turned_off_loses_its_socket(tmp_path: Path) -> None:
    fake = FakeSystemd()
    Systemd(fake, tmp_path).install(definition(tmp_path))
    fake.calls.clear()
    assert Systemd(fake, tmp_path).install(definition(tmp_path, port=0))
    assert fake.verbs()[0] == ("disable", "--now", "hypurad.socket")
    assert {path.name for path in tmp_path.iterdir()} == {"hypurad.service"}


def test_stop_ends_the_socket_too(tmp_path: Path) -> None:
    fake = FakeSystemd()
    manager = Systemd(fake, tmp_path)
    manager.install(definition(tmp_path))
    fake.calls.clear()
    manager.stop()
    assert fake.verbs() == [("stop", "hypurad.socket", "hypurad.service")]
    manager.start()
    manager.restart()
    assert fake.verbs()[1:] == [("start", "hypurad.service"), ("restart", "hypurad.service")]
    told = manager.status()
    assert told.running and told.pid == 4711 and told.detail == "active (running)"


def test_uninstall_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    fake = FakeSystemd()
    manager = Systemd(fake, tmp_path)
    manager.install(definition(tmp_path))
    fake.calls.clear()
    assert manager.uninstall()
    assert fake.verbs()[0] == ("disable", "--now", "hypurad.socket", "hypurad.service")
    assert not list(tmp_path.iterdir())
    assert not manager.uninstall()
    assert not manager.status().installed


@pytest.mark.parametrize(
    "said",
    [
        "Failed to connect to bus: No medium found",
        "Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS not defined",
        "System has not been booted with systemd as init system (PID 1). Can't operate.",
    ],
)
def test_no_user_manager_is_explained_before_anything_is_written(tmp_path: Path, said: str) -> None:
    with pytest.raises(ServiceFailed, match="user manager"):
        Systemd(FakeSystemd(said), tmp_path).install(definition(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_service_that_is_not_installed_is_reported(tmp_path: Path, verb: str) -> None:
    with pytest.raises(ServiceFailed, match="service install"):
        getattr(Systemd(FakeSystemd(), tmp_path), verb)()


def test_the_log_is_the_journal(tmp_path: Path) -> None:
    manager = Systemd(FakeSystemd(), tmp_path)
    manager.install(definition(tmp_path))
    expected = ["journalctl", "--user", "--unit", "hypurad.service", "--lines", "9", "--follow"]
    assert manager.log_command(9, follow=True) == expected
