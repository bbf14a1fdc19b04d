"""Drives measured through real files."""

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from hypura_daemon.errors import ModelFileError
from hypura_daemon.hardware.drive import (
    BLOCK_BYTES,
    QUEUE_DEPTHS,
    SMALL_FILE_BYTES,
    best_point,
    block_sizes,
    measure_drive,
)
from hypura_daemon.hardware.profile import DrivePoint
from hypura_daemon.platforms.linux import Linux
from hypura_daemon.platforms.platform import current

_QUICK_SECONDS = 0.01


def test_a_large_file_gives_every_point_and_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    with file.open("wb") as opened:
        for _ in range(SMALL_FILE_BYTES >> 20):
            opened.write(os.urandom(1 << 20))
        opened.flush()
        os.fsync(opened.fileno())
    file.chmod(0o400)
    before = file.stat()
    drive = measure_drive(file, point_seconds=_QUICK_SECONDS)
    after = file.stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert {(point.block_bytes, point.queue_depth) for point in drive.points} == {
        (block, depth) for block in BLOCK_BYTES for depth in QUEUE_DEPTHS
    }
    assert all(point.bytes_per_second > 0 for point in drive.points)
    assert drive.bytes_per_second == best_point(drive.points).bytes_per_second
    assert not drive.provisional
    assert drive.measured_at_seconds > 0
    assert drive.mount == current().mount_of(file).point


@pytest.mark.parametrize(
    ("size_bytes", "alignment_bytes", "blocks"),
    [
        (0, 4096, ()),
        (4095, 4096, ()),
        (10_000, 4096, (8192,)),
        (10_000, 512, (9728,)),
        (128 << 10, 4096, (128 << 10,)),
        ((4 << 20) - 1, 4096, (128 << 10, 512 << 10, 1 << 20)),
        (1 << 40, 4096, BLOCK_BYTES),
    ],
)
def test_blocks_fit_the_file(size_bytes: int, alignment_bytes: int, blocks: tuple[int, ...]) -> None:
    assert block_sizes(size_bytes, alignment_bytes) == blocks


@pytest.mark.parametrize("size_bytes", [0, 100, 5000, 300_001])
def test_a_small_file_is_measured_with_what_is_there(tmp_path: Path, size_bytes: int) -> None:
    file = tmp_path / "small.gguf"
    file.write_bytes(os.urandom(size_bytes))
    drive = measure_drive(file, point_seconds=_QUICK_SECONDS)
    assert drive.provisional
    assert bool(drive.points) == (size_bytes >= 4096)
    assert (drive.measured_at_seconds > 0) == (drive.best_queue_depth > 0) == bool(drive.points)


def test_a_memory_file_system_is_read_through_the_cache() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or current().direct_alignment(shm) is not None:
        pytest.skip("no memory file system here")
    with tempfile.NamedTemporaryFile(dir=shm) as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        drive = measure_drive(Path(file.name), point_seconds=_QUICK_SECONDS)
    assert not drive.direct
    assert drive.filesystem == "tmpfs"
    assert drive.bytes_per_second > 0


class RefusesDirectReads(Linux):
    """A file system that refuses O_DIRECT at open or at read, as NFS servers and FUSE do."""

    __slots__ = ()

    def open_direct(self, path: Path) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_a_file_system_that_refuses_direct_reads_is_read_through_the_cache(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(os.urandom(1 << 20))
    drive = measure_drive(file, platform=RefusesDirectReads(), point_seconds=_QUICK_SECONDS)
    assert not drive.direct
    assert drive.bytes_per_second > 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"missing\.gguf cannot be read .*No such file"):
        measure_drive(tmp_path / "missing.gguf")


def test_a_folder_is_described_but_not_measured(tmp_path: Path) -> None:
    drive = measure_drive(tmp_path)
    assert drive.points == ()
    assert drive.measured_at_seconds == 0
    assert drive.mount


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({(1 << 20, 1): 100.0, (4 << 20, 8): 101.0}, (1 << 20, 1)),
        ({(1 << 20, 1): 50.0, (4 << 20, 4): 96.0, (1 << 20, 4): 95.5, (4 << 20, 8): 100.0}, (1 << 20, 4)),
        ({(128 << 10, 8): 100.0, (4 << 20, 2): 95.0}, (4 << 20, 2)),
        ({(128 << 10, 1): 94.9, (4 << 20, 2): 100.0}, (4 << 20, 2)),
    ],
)
def test_the_best_point_is_the_cheapest_near_the_top(
    rates: dict[tuple[int, int], float], best: tuple[int, int]
) -> None:
    points = [DrivePoint(block, depth, rate) for (block, depth), rate in rates.items()]
    found = best_point(points)
    assert (found.block_bytes, found.queue_depth) == best
    assert best_point([replace(point, bytes_per_second=0.0) for point in points])  # a dead drive divides by nothing
