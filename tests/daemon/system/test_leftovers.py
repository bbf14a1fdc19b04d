"""What a killed daemon left behind is removed at the next start; what other daemons use is not."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura_daemon.system.files import replace_file
from hypura_daemon.system.leftovers import STATISTICS_SECONDS, remove_leftovers


@pytest.fixture
def sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        yield Path(name)


def bound(path: Path) -> Path:
    """A socket on which no process listens."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return path


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_files_that_were_being_replaced_go(tmp_path: Path, sockets: Path) -> None:
    """A process killed while it replaces each of these files leaves what this finds."""
    places = ("models.json", "summaries.json", "tuning/ab.json", "manifests/h/n/m/latest")
    for place in places:
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom hypura_daemon.system import files\n"
            "files.os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
            "files.replace_file(Path(sys.argv[1]), b'x')\n"
        )
        assert subprocess.run([sys.executable, "-c", program, str(tmp_path / place)]).returncode == -9
        replace_file(tmp_path / place, b"whole")
    kept = [tmp_path / ".keep.me", tmp_path / "models.json.unreadable", tmp_path / "tuning" / ".hidden"]
    for path in kept:
        path.touch()
    removed = remove_leftovers(tmp_path, sockets)
    assert len(removed) == len(places)
    assert all(path.name.startswith(".") for path in removed)
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, *(tmp_path / place for place in places)}


def test_statistics_that_a_worker_may_still_write_stay(tmp_path: Path, sockets: Path) -> None:
    folder = tmp_path / "experts"
    folder.mkdir()
    whole, fresh, old = (folder / f"{'a' * 24}{end}" for end in ("", "abcd_123", "wxyz0000"))
    for path in (whole, fresh, old):
        path.touch()
    before = time.time() - 2 * STATISTICS_SECONDS
    os.utime(old, (before, before))
    assert remove_leftovers(tmp_path, sockets) == [old]


def test_sockets_of_daemons_that_have_ended_go(tmp_path: Path, sockets: Path) -> None:
    dead = dead_pid()
    gone = {bound(sockets / f"{pid:x}-1.s") for pid in (dead, os.getpid())}
    reused = bound(sockets / f"{os.getppid():x}-2.s")  # Older than the process that has this number now.
    os.utime(reused, (1, 1))
    alive = bound(sockets / f"{os.getppid():x}-1.s")
    others = [bound(sockets / "control.sock"), sockets / f"{dead:x}-9.s"]
    others[1].write_text("no socket")
    with socket.socket(socket.AF_UNIX) as worker:  # Of a daemon that cannot be seen from here.
        worker.bind(str(sockets / f"{dead:x}-2.s"))
        worker.listen()
        assert set(remove_leftovers(tmp_path, sockets)) == {*gone, reused}
    assert set(sockets.iterdir()) == {alive, *others, sockets / f"{dead:x}-2.s"}
