"""Anonymous memory for slots and rings, committed page by page as it is filled, or at once."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of Linux 5.14
_STEP_BYTES = 64 << 20
_THREADS = 4


class Pool:
    """size_bytes of page-aligned memory at `address`.

    huge: in huge pages where the system has them: fewer misses when weights are multiplied, and fewer pages to
    pin for a direct read; without, only the small pages that are filled take memory.
    """

    def __init__(self, size_bytes: int, *, huge: bool = True) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._map = mmap.mmap(-1, max(size_bytes, mmap.PAGESIZE), flags=flags)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self.address = int(self.bytes.ctypes.data)

    def release(self, offset_bytes: int, length_bytes: int | None = None) -> None:
        """Give the whole pages of length_bytes from offset_bytes on, or of all behind it, back to the system."""
        start = -(-offset_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        end = len(self._map)
        if length_bytes is not None:
            end = min(end, (offset_bytes + length_bytes) // mmap.PAGESIZE * mmap.PAGESIZE)
        if start < end:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def close(self) -> None:
        """Release the memory; no address may be used any more.

        It is unmapped with its last view: the traceback of a failed read can still hold one.
        """
        self.bytes = np.empty(0, np.uint8)
        del self._map


def commit(parts: Sequence[tuple[Pool, int]], progress: Callable[[float], None] = lambda share: None) -> bool:
    """Have the system provide the first so many bytes of each pool now; their content stays.

    A read then finds its pages, and does not wait for each to be cleared, or for a virtual machine's host to provide
    it. progress is called with the share that is done. False where the system cannot do this, or has no memory left.
    """
    if sys.platform != "linux":
        return False
    steps = [
        (pool.address + start, min(_STEP_BYTES, size_bytes - start))
        for pool, size_bytes in parts
        for start in range(0, size_bytes, _STEP_BYTES)
    ]
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def populate(step: tuple[int, int]) -> bool:
        return bool(madvise(*step, _POPULATE_WRITE) == 0)

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "commit") as threads:
        for done, given in enumerate(threads.map(populate, steps), 1):
            if not given:
                threads.shutdown(cancel_futures=True)
                return False
            progress(done / len(steps))
    return True
