"""One daemon per home and per socket, in a folder that other users cannot enter."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypura_daemon.errors import SettingsError
from hypura_daemon.system.endpoint import AlreadyRunning, locked_home, prepare_socket


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        yield Path(name)


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_home_has_one_daemon_and_holds_its_pid(folder: Path) -> None:
    with locked_home(folder), pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"), locked_home(folder):
        pass
    with locked_home(folder):
        assert (folder / "run/daemon.pid").read_text() == f"{os.getpid()}\n"


def test_a_killed_daemon_leaves_its_home_free(folder: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom hypura_daemon.system.endpoint import locked_home\n"
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


def test_a_stale_socket_is_removed_and_one_in_use_stays(folder: Path) -> None:
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
    with pytest.raises(SettingsError, match="not a socket"):
        prepare_socket(folder / "s", private_folder=True)
    assert (folder / "s").read_text() == "precious"


@pytest.fixture
def drive(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of 64 KiB, or of few inodes, or one that cannot be written."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = folder / f"drive-{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("this user may not mount file systems")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize(
    ("options", "cause"),
    [("size=64k", "No space left"), ("size=1m,nr_inodes=2", "No space left"), ("size=1m,ro", "Read-only")],
)
def test_a_home_without_room_is_named_with_its_cause(drive: Callable[[str], Path], options: str, cause: str) -> None:
    place = drive(options)
    if "64k" in options:
        fill(place)
    home = place / "home"
    with pytest.raises(SettingsError, match="set HYPURA_HOME") as caught, locked_home(home):
        pass
    assert f"the home {home} cannot be used: {home}" in str(caught.value)
    assert cause in str(caught.value) and ("make room" in str(caught.value) or "for writing" in str(caught.value))
    if "64k" not in options:  # There a socket still fits.
        with pytest.raises(SettingsError, match="set HYPURA_SOCKET") as caught:
            prepare_socket(place / "c.sock" if "ro" in options else place / "run" / "c.sock", private_folder=False)
        assert cause in str(caught.value) and str(place) in str(caught.value)


def test_a_first_start_without_room_says_so(drive: Callable[[str], Path]) -> None:
    """A bug once: the message referred to the daemon's log for the reason, and the log was empty."""
    for options in ("size=64k", "size=1m,nr_inodes=3", "size=1m,ro"):
        place = drive(options)
        if "64k" in options:
            fill(place)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("HYPURA_")}
        done = subprocess.run(
            [sys.executable, "-m", "hypura_client.cli.main", "status"],
            env={**environ, "HYPURA_HOME": str(place / "home"), "HYPURA_HTTP": "127.0.0.1:0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 3 and "Traceback" not in done.stderr
        assert str(place / "home") in done.stderr and "set HYPURA_HOME" in done.stderr
        assert "No space left" in done.stderr or "Read-only" in done.stderr
