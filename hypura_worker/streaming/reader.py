"""Reads extents of files into memory, with several threads, past the page cache."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypura_worker.errors import ReadFailed
from hypura_worker.llama.library import expect_layout, hook, mirrors

READ = np.dtype(
    [
        ("fd", np.int32),
        ("tag", np.int32),
        ("offset", np.int64),
        ("length_bytes", np.int64),
        ("required_bytes", np.int64),
        ("dest", np.uint64),
        ("copy_dest", np.uint64),
        ("skip_bytes", np.int64),
        ("copy_bytes", np.int64),
    ]
)
"""hypura_read of reader.h: one extent and where it goes."""
expect_layout(
    "hypura_read",
    {
        "": (0, READ.itemsize),
        **{name: (offset, kind.itemsize) for name, (kind, offset, *_) in (READ.fields or {}).items()},
    },
)

_ENDED_EARLY = -1


@dataclass(frozen=True, slots=True)
class Alignment:
    """What direct reads need: offset_bytes of the file position, memory_bytes of the address."""

    offset_bytes: int
    memory_bytes: int


@mirrors("hypura_batch")
class Batch(ctypes.Structure):
    """hypura_batch of reader.h: reads that are waited for together."""

    _fields_ = (
        ("pending", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("failed_tag", ctypes.c_int32),
        ("unwanted", ctypes.c_int32),
        ("dropped", ctypes.c_int32),
    )


@mirrors("hypura_reader_figures")
class ReaderFigures(ctypes.Structure):
    """hypura_reader_figures of reader.h, since the start. busy_ns: with at least one read under way."""

    _fields_ = (("bytes", ctypes.c_uint64), ("wait_ns", ctypes.c_uint64), ("busy_ns", ctypes.c_uint64))


class Reader:
    """A pool of queue_depth read threads; reads are split at chunk_bytes (a multiple of 64 KiB)."""

    def __init__(self, queue_depth: int, chunk_bytes: int) -> None:
        self._hook = hook()
        handle = self._hook.hypura_reader_new(queue_depth, chunk_bytes)
        if not handle:
            raise MemoryError("no memory for the read threads")
        self._handle = handle
        if self._hook.hypura_reader_threads(handle) == 0:
            self.close()
            raise ReadFailed("no read thread could be started; raise the limit of processes (ulimit -u)")

    def submit(self, reads: npt.NDArray[np.void], batch: Batch) -> None:
        """Queue reads (dtype READ); they have ended when `wait` for the batch returns."""
        self._hook.hypura_reader_submit(self._handle, reads.ctypes.data, len(reads), ctypes.byref(batch))

    def wait(self, batch: Batch) -> None:
        """Block until the batch has ended. Raises ReadFailed; batch.failed_tag is the tag of the read that failed."""
        error = self._hook.hypura_reader_wait(self._handle, ctypes.byref(batch))
        if error:
            raise ReadFailed(describe_error(error))

    def delay(self, milliseconds: int) -> None:
        """Delay each read by so much: a slow drive, for tests."""
        self._hook.hypura_reader_delay(self._handle, milliseconds)

    @property
    def handle(self) -> int:
        """The hypura_reader, for the hook."""
        return int(self._handle or 0)

    def figures(self) -> ReaderFigures:
        """Bytes and times since the start."""
        figures = ReaderFigures()
        self._hook.hypura_reader_read_figures(self._handle, ctypes.byref(figures))
        return figures

    def close(self) -> None:
        """End the threads; reads not begun are dropped."""
        if self._handle:
            self._hook.hypura_reader_free(self._handle)
            self._handle = None


def describe_error(error: int) -> str:
    """What a batch's error means."""
    if error == _ENDED_EARLY:
        return "the model file ended before the weights did; it was truncated while loaded"
    return f"reading the model's drive failed: {os.strerror(error)} (errno {error})"
