"""Starting a daemon: real processes, with a fake hypura_daemon in front of the real one."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hypura_client.discovery import Location
from hypura_client.errors import CannotConnect, DaemonSilent, DaemonStartFailed
from hypura_client.launch import Probe, probe, start_daemon
from hypura_client.sync import Client
from tests.client.conftest import REPOSITORY, TIMEOUT_SECONDS, Hypuractl, clean_environ

SERVES = "import sys\nfrom tests.client.fake_daemon import main\nsys.exit(main())\n"


@pytest.fixture
def place(short_folder: Path, tmp_path: Path) -> Iterator[Location]:
    place = Location(tmp_path / "home", short_folder / f"{tmp_path.name}.sock")
    yield place
    # One that lost a race may have begun to serve when the winner ended.
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if child.environ().get("HYPURA_SOCKET") == str(place.socket_path):
                child.kill()
                child.wait(TIMEOUT_SECONDS)


def environ_with(daemon: str, place: Location, tmp_path: Path) -> dict[str, str]:
    """An environment in which `python -m hypura_daemon` runs this text."""
    package = tmp_path / "fake" / "hypura_daemon"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(daemon)
    path = os.pathsep.join((str(package.parent), str(REPOSITORY)))
    return clean_environ(PYTHONPATH=path, HYPURA_SOCKET=str(place.socket_path), HYPURA_HOME=str(place.home))


def end(place: Location) -> None:
    with Client(place.socket_path) as client:
        process = psutil.Process(client.status().daemon.pid)
        client.shutdown()
    process.wait(TIMEOUT_SECONDS)


def test_hypuractl_starts_a_daemon_and_stops_it(place: Location, tmp_path: Path) -> None:
    hypuractl = Hypuractl(environ_with(SERVES, place, tmp_path), tmp_path)
    first = hypuractl("status", "--json")
    assert first.code == 0, first
    assert "starting the hypura daemon" in first.stderr
    pid = first.json["daemon"]["pid"]
    assert psutil.Process(pid).terminal() is None
    assert os.getsid(pid) != os.getsid(0)
    assert hypuractl("status", "--json").json["daemon"]["pid"] == pid
    assert "ready" in place.log_path.read_text()
    assert hypuractl("stop", "--json").json == {"was_running": True}
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert probe(place.socket_path) is Probe.ABSENT


def test_clients_that_race_find_one_daemon(place: Location, tmp_path: Path) -> None:
    environ = environ_with(SERVES, place, tmp_path)
    pids: list[int] = []

    def arrive() -> None:
        start_daemon(place, environ)
        with Client(place.socket_path) as client:
            pids.append(client.status().daemon.pid)

    threads = [threading.Thread(target=arrive) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert len(pids) == 3
    assert len(set(pids)) == 1
    end(place)


def test_a_daemon_that_dies_is_explained_with_its_last_lines(place: Location, tmp_path: Path) -> None:
    dies = "import sys\nprint('port 80 is in use', file=sys.stderr)\nsys.exit(4)\n"
    place.log_path.parent.mkdir(parents=True)
    place.log_path.write_text("words of an earlier one\n")
    with pytest.raises(DaemonStartFailed, match="code 4") as caught:
        start_daemon(place, environ_with(dies, place, tmp_path))
    assert "port 80 is in use" in str(caught.value)
    assert "earlier" not in str(caught.value)


def test_a_daemon_that_never_serves_is_given_up(place: Location, tmp_path: Path) -> None:
    hangs = "import os, sys\nprint(os.getpid(), flush=True)\nsys.stdin.read()\nimport signal\nsignal.pause()\n"
    with pytest.raises(DaemonStartFailed, match="still starting"):
        start_daemon(place, environ_with(hangs, place, tmp_path), start_seconds=1.0)
    process = psutil.Process(int(place.log_path.read_text()))
    process.kill()
    process.wait(TIMEOUT_SECONDS)


def test_a_daemon_that_claims_another_runs_is_not_waited_for_forever(place: Location, tmp_path: Path) -> None:
    with pytest.raises(DaemonStartFailed, match="did not serve"):
        start_daemon(place, environ_with("raise SystemExit(3)\n", place, tmp_path), start_seconds=1.5)


def test_no_start(place: Location, tmp_path: Path) -> None:
    environ = {**environ_with(SERVES, place, tmp_path), "HYPURA_NO_START": "1"}
    with pytest.raises(CannotConnect, match="HYPURA_NO_START"):
        start_daemon(place, environ)
    assert not place.home.exists()


def test_a_home_that_cannot_be_written(tmp_path: Path, short_folder: Path) -> None:
    (tmp_path / "file").touch()
    place = Location(tmp_path / "file" / "home", short_folder / "unwritable.sock")
    with pytest.raises(DaemonStartFailed, match="HYPURA_HOME"):
        start_daemon(place, environ_with(SERVES, place, tmp_path))


@pytest.mark.parametrize("command", ["status", "models", "stop", "run"])
def test_a_stopped_daemon_is_named_at_once(place: Location, tmp_path: Path, command: str) -> None:
    """It accepts connections, since the system does that for it."""
    hypuractl = Hypuractl(environ_with(SERVES, place, tmp_path), tmp_path)
    pid = hypuractl("status", "--json").json["daemon"]["pid"]
    (place.home / "run").mkdir()
    (place.home / "run" / "daemon.pid").write_text(f"{pid}\n")
    os.kill(pid, signal.SIGSTOP)
    try:
        started_seconds = time.monotonic()
        outcome = hypuractl(command, *(("m", "hello") if command == "run" else ()))
        assert time.monotonic() - started_seconds < 8.0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (outcome.code, outcome.stdout) == (3, "")
    assert outcome.stderr.count("\n") == 1
    assert f"kill -CONT {pid}" in outcome.stderr
    end(place)


def test_a_daemon_that_hangs_is_given_up_after_seconds(place: Location, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.socket_path))
        listener.listen()
        with pytest.raises(DaemonSilent, match=r"accepts connections but has not answered for 1 s"):
            start_daemon(place, environ_with(SERVES, place, tmp_path), silence_seconds=1.0)
        outcome = Hypuractl(environ_with(SERVES, place, tmp_path / "stop"), tmp_path)("stop")
        assert (outcome.code, outcome.stderr.count("\n")) == (3, 1)
        assert "has not answered for 5 s" in outcome.stderr and "`kill PID`" in outcome.stderr
    place.socket_path.unlink()
