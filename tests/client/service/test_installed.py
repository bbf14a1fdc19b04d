"""If a service is installed, hypuractl starts it: another daemon would take the home's lock from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hypura_client.discovery import Location
from hypura_client.service.definition import Definition
from hypura_client.service.installed import service_starter
from hypura_client.service.launchd import Launchd
from hypura_client.service.service_manager import Outcome, ServiceManager
from hypura_client.service.systemd import Systemd
from tests.client.conftest import Hypuractl, clean_environ
from tests.client.service.test_launchd import FakeLaunchd
from tests.client.service.test_systemd import FakeSystemd

HOME = Path("/data/100% $HOME")
PROGRAM = ("/opt/my python", "-P", "-m", "hypura_daemon", "--service")
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$CALLS"
[ "$2" = start ] && HYPURA_SOCKET="$PLACE" exec "$PYTHON" -m tests.client.fake_daemon </dev/null >/dev/null 2>&1 &
"""


def managers(folder: Path) -> list[ServiceManager]:
    return [Systemd(FakeSystemd(), folder), Launchd(FakeLaunchd(), folder, 501)]


def defined(folder: Path, *more: str) -> Definition:
    return Definition((*PROGRAM, *more), "127.0.0.1", 0, folder / "logs" / "service.log")


@pytest.mark.parametrize("which", [0, 1], ids=["systemd", "launchd"])
def test_the_installed_arguments_are_read_back(tmp_path: Path, which: int) -> None:
    manager = managers(tmp_path)[which]
    assert manager.installed_arguments() == () or list(manager.installed_arguments()) == []
    manager.install(defined(tmp_path, "--home", str(HOME)))
    assert tuple(manager.installed_arguments()) == (*PROGRAM, "--home", str(HOME))


@pytest.mark.parametrize(
    ("installed", "environ", "home", "starts"),
    [
        (None, {}, HOME, False),
        ((), {}, HOME, True),
        ((), {"HYPURA_HOME": str(HOME)}, HOME, False),
        (("--home", str(HOME)), {"HYPURA_HOME": str(HOME)}, HOME, True),
        (("--home", str(HOME)), {"HYPURA_HOME": "/other"}, Path("/other"), False),
        ((), {"HYPURA_SOCKET": "/s"}, HOME, False),
    ],
)
def test_the_service_is_started_for_the_place_that_it_serves(
    tmp_path: Path, installed: Sequence[str] | None, environ: dict[str, str], home: Path, starts: bool
) -> None:
    manager = Systemd(FakeSystemd(), tmp_path)
    if installed is not None:
        manager.install(defined(tmp_path, *installed))
    assert (service_starter(manager, Location(home, home / "s"), environ) is not None) == starts


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="systemd's units are looked at on Linux alone")
def test_hypuractl_starts_the_service_and_nothing_else(tmp_path: Path, short_folder: Path) -> None:
    """systemctl is a program that notes its arguments and starts a daemon; nothing else can have started one."""
    home, calls, programs = tmp_path / "home", tmp_path / "calls", tmp_path / "bin"
    home.mkdir()
    place = short_folder / f"{tmp_path.name}.sock"
    (home / "config.toml").write_text(f'socket = "{place}"\n')
    Systemd(lambda _: Outcome(0, "", ""), tmp_path / "config" / "systemd" / "user").install(
        defined(tmp_path, "--home", str(home))
    )
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL)
    (programs / "systemctl").chmod(0o755)
    environ = clean_environ(
        HYPURA_HOME=str(home), XDG_CONFIG_HOME=str(tmp_path / "config"), CALLS=str(calls), PLACE=str(place),
        PYTHON=sys.executable, PATH=f"{programs}:{os.environ['PATH']}",
    )  # fmt: skip
    hypuractl = Hypuractl(environ, tmp_path)
    told = hypuractl("status", "--json")
    assert told.code == 0, told
    assert calls.read_text().splitlines() == ["--user start hypurad.service"]
    assert hypuractl("stop", "--json").json == {"was_running": True}
