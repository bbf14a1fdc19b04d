"""One daemon per home and per socket, in a folder that nobody else can enter."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura_daemon.endpoint import AlreadyRunning, locked_home, prepare_socket
from hypura_daemon.errors import SettingsError


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        yield Path(name)


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_home_has_one_daemon_and_tells_its_pid(folder: Path) -> None:
    with locked_home(folder), pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"), locked_home(folder):
        pass
    with locked_home(folder):
        assert (folder / "run/daemon.pid").read_text() == f"{os.getpid()}\n"


def test_a_killed_daemon_leaves_its_home_free(folder: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom hypura_daemon.endpoint import locked_home\n"
        f"with locked_home(Path({str(folder)!r})):\n    print('locked', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyRunning, match=f"pid {other.pid}"), locked_home(folder):
            pass
        other.kill()
    with locked_home(folder):
        pass


def test_a_home_that_is_a_file(folder: Path) -> None:
    (folder / "home").write_text("")
    with pytest.raises(SettingsError, match="set HYPURA_HOME"), locked_home(folder / "home"):
        pass


def test_the_socket_folder_is_private(folder: Path) -> None:
    place = folder / "a" / "b"
    prepare_socket(place / "s", private_folder=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    place.chmod(0o755)
    prepare_socket(place / "s", private_folder=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_chosen_folder_keeps_its_mode(folder: Path) -> None:
    folder.chmod(0o755)
    prepare_socket(folder / "s", private_folder=False)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_folder_behind_a_link_is_not_trusted(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    with pytest.raises(SettingsError, match="not a folder of yours"):
        prepare_socket(folder / "link" / "s", private_folder=True)


def test_a_stale_socket_goes_and_a_living_one_stays(folder: Path) -> None:
    path = folder / "s"
    listen(path).close()
    assert path.exists()
    prepare_socket(path, private_folder=True)
    assert not path.exists()
    with listen(path), pytest.raises(AlreadyRunning, match="answers on"):
        prepare_socket(path, private_folder=True)
    assert path.exists()


def test_a_file_in_the_sockets_place_is_left_alone(folder: Path) -> None:
    (folder / "s").write_text("precious")
    with pytest.raises(SettingsError, match="no socket"):
        prepare_socket(folder / "s", private_folder=True)
    assert (folder / "s").read_text() == "precious"
