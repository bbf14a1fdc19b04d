"""Measures the drive of a model file by reading the file itself; never writes.

for each block size × queue depth:   warm-up │ counted                  │
    thread 1                         ▒▒▒▒▒▒▒▒│████████ ████████ ████████│
    thread 2 … queue depth           ▒▒▒▒▒▒▒▒│████████ ████████ ████████│
"""

import mmap
import os
import random
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from hypura_daemon.errors import ModelFileChanged, ModelFileError
from hypura_daemon.hardware.profile import DrivePoint, DriveProfile
from hypura_daemon.platforms.platform import Alignment, Mount, Platform, current

BLOCK_BYTES = (128 << 10, 512 << 10, 1 << 20, 4 << 20)
QUEUE_DEPTHS = (1, 2, 4, 8)
SMALL_FILE_BYTES = 64 << 20
"""A drive's own cache may hold a smaller file, so that the result is provisional."""

BUSY_BYTES = 64 << 20
"""Drives read slowly while more than this is being written, as after a download."""

_POINT_SECONDS = 0.15
_WARM_UP_SECONDS = 0.03
_NEAR_BEST = 0.95
_BUFFERED_ALIGNMENT = Alignment(4096, 4096)
# Two measurements at the same time would halve each other's results.
_measuring = threading.Lock()
_T = TypeVar("_T")


def measure_drive(
    path: Path, *, platform: Platform | None = None, point_seconds: float = _POINT_SECONDS
) -> DriveProfile:
    """The profile of the drive that holds this file, after about 3 seconds of reading.

    A folder, or a file of less than a page, is not measured: no points, bandwidth 0. Blocks meanwhile, so call it in a
    thread. Raises ModelFileError if the file cannot be read, ModelFileChanged if it shrinks meanwhile.
    """
    platform = platform or current()
    descriptor = None
    try:
        status = path.stat()
        mount = platform.mount_of(path)
        alignment = platform.direct_alignment(path)
        direct = alignment is not None
        if stat.S_ISREG(status.st_mode):
            descriptor, direct = _open(path, platform, alignment)
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read to measure its drive ({error.strerror or error}); "
            "check the path and its permissions"
        ) from error
    profile = replace(
        _described(mount, alignment if direct else None),
        provisional=status.st_size < SMALL_FILE_BYTES,
        busy=platform.unwritten_bytes() > BUSY_BYTES,
    )
    if descriptor is None:
        return profile
    blocks = block_sizes(status.st_size, profile.offset_alignment_bytes)
    try:
        with _measuring:
            points = _measure(descriptor, blocks, status.st_size, point_seconds)
    except OSError as error:
        raise ModelFileError(
            f"reading {path} failed ({error.strerror or error}); check the drive and the file"
        ) from error
    except EOFError as error:
        raise ModelFileChanged(f"{path} became shorter while it was read; register the model again") from error
    finally:
        os.close(descriptor)
    if not points:
        return profile
    best = best_point(points)
    return replace(
        profile,
        points=points,
        best_block_bytes=best.block_bytes,
        best_queue_depth=best.queue_depth,
        bytes_per_second=best.bytes_per_second,
        measured_at_seconds=time.time(),
    )


def unmeasured_drive(path: Path, *, platform: Platform | None = None) -> DriveProfile:
    """The profile of the file's drive without reading from it: no points, bandwidth 0. Raises ModelFileError."""
    platform = platform or current()
    try:
        return _described(platform.mount_of(path), platform.direct_alignment(path))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be examined ({error.strerror or error}); check the path and its permissions"
        ) from error


def _described(mount: Mount, alignment: Alignment | None) -> DriveProfile:
    """The profile without measurements; alignment: for direct reads, None if there are none."""
    needs = alignment or _BUFFERED_ALIGNMENT
    return DriveProfile(
        mount=mount.point,
        device=mount.device,
        filesystem=mount.filesystem,
        direct=alignment is not None,
        offset_alignment_bytes=needs.offset_bytes,
        memory_alignment_bytes=needs.memory_bytes,
    )


def block_sizes(size_bytes: int, alignment_bytes: int) -> tuple[int, ...]:
    """The block sizes for a file of this size; for a very small file a single block of the whole file."""
    fitting = tuple(block for block in BLOCK_BYTES if block <= size_bytes)
    whole = size_bytes // alignment_bytes * alignment_bytes
    return fitting or ((whole,) if whole else ())


def best_point(points: Sequence[DrivePoint]) -> DrivePoint:
    """The least queue depth, then the smallest block, within 5 % of the highest bandwidth.

    Fewer and smaller reads cost less memory, fewer threads, and less waiting for the first byte.
    """
    top = max(point.bytes_per_second for point in points)
    near = [point for point in points if point.bytes_per_second >= _NEAR_BEST * top]
    return min(near, key=lambda point: (point.queue_depth, point.block_bytes))


def _open(path: Path, platform: Platform, alignment: Alignment | None) -> tuple[int, bool]:
    """A descriptor, and whether its reads bypass the page cache: tried, since some accept the flag and do not."""
    if alignment is not None:
        try:
            descriptor = platform.open_direct(path)
        except OSError:
            descriptor = -1  # If the reason is not the flag, buffered reads fail too.
        if descriptor >= 0:
            try:
                with mmap.mmap(-1, mmap.PAGESIZE) as buffer:
                    os.preadv(descriptor, [buffer], 0)
                return descriptor, True
            except OSError:
                os.close(descriptor)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC), False


def _measure(descriptor: int, blocks: Sequence[int], size_bytes: int, point_seconds: float) -> tuple[DrivePoint, ...]:
    if not blocks:
        return ()
    points = []
    buffers = [mmap.mmap(-1, max(blocks)) for _ in range(max(QUEUE_DEPTHS))]
    try:
        for depth in QUEUE_DEPTHS:
            for block in blocks:
                counted = time.perf_counter() + _WARM_UP_SECONDS
                end = counted + point_seconds
                read = partial(_read, descriptor, block, size_bytes // block, counted, end)
                results = _in_parallel([partial(read, buffer) for buffer in buffers[:depth]])
                last = max(result[1] for result in results)
                read_bytes = sum(result[0] for result in results)
                points.append(DrivePoint(block, depth, read_bytes / max(last - counted, 1e-6)))
    finally:
        for buffer in buffers:
            buffer.close()
    return tuple(points)


def _in_parallel(works: Sequence[Callable[[], _T]]) -> list[_T]:
    """The results of functions that run in threads of their own; raises the first exception once all have ended.

    The threads do not delay the end of the process: a read from a drive that hangs never returns.
    """
    results: list[_T] = []
    errors: list[Exception] = []

    def run(work: Callable[[], _T]) -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), name="drive", daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _read(
    descriptor: int, block_bytes: int, blocks: int, counted: float, end: float, buffer: mmap.mmap
) -> tuple[int, float]:
    """Read blocks at random until `end`: bytes that arrived after `counted`, and when the last did.

    At least one read is counted, however slow the drive.
    """
    read_bytes = 0
    done = time.perf_counter()
    with memoryview(buffer) as view, view[:block_bytes] as part:
        while done < end or not read_bytes:
            count = os.preadv(descriptor, [part], random.randrange(blocks) * block_bytes)
            if count != block_bytes:
                raise EOFError
            done = time.perf_counter()
            if done >= counted:
                read_bytes += count
    return read_bytes, done
