"""How fast a file can be read from its drive: `python -m hypura_worker.tools.drive --point 1048576:4:2 FILE`.

    point = block size : reads in flight per thread : threads
    each point ─► a DriveLine

Reads are direct and at random offsets, so that neither the page cache nor read-ahead serves them.
A thread keeps its reads in flight by Linux's asynchronous I/O; elsewhere each read has a blocking thread.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypura.v1 import placement_pb2
from hypura.v1.tools_pb2 import DriveLine, DriveReading
from hypura_worker import runtime
from hypura_worker.errors import WorkerError
from hypura_worker.streaming.model_files import ModelFiles

_ALIGNMENT_BYTES = 4096
_MAX_BLOCK_BYTES, _MAX_READS = 1 << 28, 256
_WARM_UP_SHARE = 0.2
_MAX_BUFFERS_BYTES = 1 << 30
# io_setup, io_submit, io_getevents, io_destroy: the kernel's numbers by machine.
_AIO_CALLS = {("Linux", "x86_64"): (206, 209, 208, 207), ("Linux", "aarch64"): (0, 2, 4, 1)}
_AIO_READ = 0


@dataclass(frozen=True, slots=True)
class Point:
    """How to read."""

    block_bytes: int
    queue_depth: int
    threads: int


@dataclass(slots=True)
class _Tally:
    """What one reader has read since `counted`, and when its last read ended."""

    counted: float
    end: float
    read_bytes: int = 0
    last: float = 0.0

    def add(self, count: int) -> bool:
        """Count a read that ended now; whether to read more."""
        self.last = time.perf_counter()
        if self.last >= self.counted:
            self.read_bytes += count
        return self.last < self.end or not self.read_bytes


class _Reader(Protocol):
    """Keeps reads in flight until its tally is full."""

    def run(self, tally: _Tally) -> None: ...
    def close(self) -> None: ...


class _BlockingReader:
    """One read at a time."""

    def __init__(self, descriptor: int, block_bytes: int, blocks: int) -> None:
        self._descriptor, self._block_bytes, self._blocks = descriptor, block_bytes, blocks
        self._buffer = mmap.mmap(-1, block_bytes)

    def run(self, tally: _Tally) -> None:
        while tally.add(
            _full_block(
                os.preadv(self._descriptor, [self._buffer], random.randrange(self._blocks) * self._block_bytes),
                self._block_bytes,
            )
        ):
            pass

    def close(self) -> None:
        self._buffer.close()


class _Iocb(ctypes.Structure):
    """struct iocb, linux/aio_abi.h."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint64),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64 * 2),
    )


class _Event(ctypes.Structure):
    """struct io_event, linux/aio_abi.h."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("object", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("more", ctypes.c_int64),
    )


class _AioReader:
    """`depth` reads in flight by Linux's asynchronous I/O. Raises OSError where there is none."""

    def __init__(self, descriptor: int, block_bytes: int, blocks: int, depth: int) -> None:
        name = os.uname()
        numbers = _AIO_CALLS.get((name.sysname, name.machine))
        if numbers is None:
            raise OSError("asynchronous I/O is not supported on this machine")
        self._setup, self._submit, self._get_events, self._destroy = numbers
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._block_bytes, self._blocks, self._depth = block_bytes, blocks, depth
        self._context = ctypes.c_uint64(0)
        self._checked(self._setup, ctypes.c_long(depth), ctypes.byref(self._context))
        self._buffers = [mmap.mmap(-1, block_bytes) for _ in range(depth)]
        addresses = [ctypes.addressof(ctypes.c_char.from_buffer(buffer)) for buffer in self._buffers]
        self._requests = [
            _Iocb(data=i, opcode=_AIO_READ, descriptor=descriptor, buffer=addresses[i], length=block_bytes)
            for i in range(depth)
        ]

    def run(self, tally: _Tally) -> None:
        self._submit_reads(range(self._depth))
        running, events = self._depth, (_Event * self._depth)()
        while running:
            count = self._checked(
                self._get_events, self._context, ctypes.c_long(1), ctypes.c_long(running), ctypes.byref(events), None
            )
            running -= count
            again = []
            for event in events[:count]:
                if event.result < 0:
                    raise OSError(-event.result, os.strerror(-event.result))
                if tally.add(_full_block(event.result, self._block_bytes)):
                    again.append(event.data)
            self._submit_reads(again)
            running += len(again)

    def close(self) -> None:
        self._call(self._destroy, self._context)  # waits for reads that are still in flight

    def _submit_reads(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        for number in numbers:
            self._requests[number].offset = random.randrange(self._blocks) * self._block_bytes
        pointers = (ctypes.c_void_p * len(numbers))(*(ctypes.addressof(self._requests[n]) for n in numbers))
        submitted = self._checked(self._submit, self._context, ctypes.c_long(len(numbers)), pointers)
        if submitted != len(numbers):
            raise OSError(f"the kernel accepted {submitted} of {len(numbers)} reads")

    def _checked(self, number: int, *arguments: object) -> int:
        result = int(self._call(ctypes.c_long(number), *arguments))
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result


def measure(descriptor: int, size_bytes: int, point: Point, seconds: float) -> float:
    """Bytes per second at one point. Raises OSError, EOFError when the file became shorter."""
    blocks = size_bytes // point.block_bytes
    with ExitStack() as stack:
        readers: list[_Reader] = []
        for _ in range(point.threads):
            for reader in _readers(descriptor, blocks, point):
                readers.append(reader)
                stack.callback(reader.close)
        counted = time.perf_counter() + _WARM_UP_SHARE * seconds
        tallies = [_Tally(counted, counted + seconds) for _ in readers]
        failures: list[Exception] = []

        def run(reader: _Reader, tally: _Tally) -> None:
            try:
                reader.run(tally)
            except (OSError, EOFError) as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=pair) for pair in zip(readers, tallies, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    last = max(tally.last for tally in tallies)
    return sum(tally.read_bytes for tally in tallies) / max(last - counted, 1e-6)


def _readers(descriptor: int, blocks: int, point: Point) -> list[_Reader]:
    """The readers that keep one thread's reads in flight."""
    if point.queue_depth > 1:
        try:
            return [_AioReader(descriptor, point.block_bytes, blocks, point.queue_depth)]
        except OSError:
            pass  # another system, or its limit of such contexts is reached
    return [_BlockingReader(descriptor, point.block_bytes, blocks) for _ in range(point.queue_depth)]


def _full_block(count: int, block_bytes: int) -> int:
    if count != block_bytes:
        raise EOFError("the file became shorter while it was read")
    return count


def _point(text: str) -> Point:
    """A point as written on the command line."""
    try:
        block_bytes, queue_depth, threads = map(int, text.split(":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a point; write BLOCK:DEPTH:THREADS") from error
    if not 0 < block_bytes <= _MAX_BLOCK_BYTES or block_bytes % _ALIGNMENT_BYTES:
        raise argparse.ArgumentTypeError(f"blocks of {block_bytes} bytes; use multiples of 4096, to {_MAX_BLOCK_BYTES}")
    if not (queue_depth > 0 and threads > 0 and queue_depth * threads <= _MAX_READS):
        raise argparse.ArgumentTypeError(f"{queue_depth} × {threads} reads at once; use 1 to {_MAX_READS}")
    if block_bytes * queue_depth * threads > _MAX_BUFFERS_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text} needs buffers of more than {_MAX_BUFFERS_BYTES} bytes; lower one of its numbers"
        )
    return Point(block_bytes, queue_depth, threads)


def _open(path: Path) -> tuple[ModelFiles, bool]:
    """The file, opened for direct reads where the file system supports them; and whether it does."""
    status = path.stat()
    file = placement_pb2.ModelFile(
        path=str(path),
        size_bytes=status.st_size,
        modified_nanoseconds=status.st_mtime_ns,
        inode=status.st_ino,
    )
    try:
        files = ModelFiles([file], direct=True)
    except OSError:
        return ModelFiles([file], direct=False), False
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as buffer:
            os.preadv(files.descriptors[0], [buffer], 0)
        return files, True
    except OSError:
        files.close()
        return ModelFiles([file], direct=False), False


def main(arguments: Sequence[str]) -> int:
    """A line per point; 1 and a line with an error when the file cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--point", action="append", required=True, type=_point, help="BLOCK:DEPTH:THREADS")
    parser.add_argument("--seconds", type=float, default=0.5, help="per point")
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= 60:
        parser.error(f"--seconds must be above 0 and at most 60, not {options.seconds}")
    try:
        size_bytes = options.file.stat().st_size
        files, direct = _open(options.file)
        with files:
            for point in options.point:
                if point.block_bytes > size_bytes:
                    continue
                rate = measure(files.descriptors[0], size_bytes, point, options.seconds)
                reading = DriveReading(
                    block_bytes=point.block_bytes,
                    queue_depth=point.queue_depth,
                    threads=point.threads,
                    bytes_per_second=rate,
                    direct=direct,
                )
                runtime.write_line(DriveLine(reading=reading))
    except (OSError, EOFError, WorkerError) as error:
        runtime.write_line(DriveLine(error=f"{options.file} cannot be read: {error}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
