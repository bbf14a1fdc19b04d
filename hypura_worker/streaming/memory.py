"""Anonymous memory for slots and rings, committed page by page as it is filled."""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt


class Pool:
    """size_bytes of page-aligned memory at `address`.

    huge: in huge pages where the system has them: fewer misses when weights are multiplied, and fewer pages to
    pin for a direct read; without, what is filled takes whole small pages alone.
    """

    def __init__(self, size_bytes: int, *, huge: bool = True) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._map = mmap.mmap(-1, max(size_bytes, mmap.PAGESIZE), flags=flags)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self.address = int(self.bytes.ctypes.data)

    def release(self, offset_bytes: int, length_bytes: int | None = None) -> None:
        """Give the whole pages of length_bytes from offset_bytes on, or all behind it, back to the system."""
        start = -(-offset_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        end = len(self._map)
        if length_bytes is not None:
            end = min(end, (offset_bytes + length_bytes) // mmap.PAGESIZE * mmap.PAGESIZE)
        if start < end:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)

    def close(self) -> None:
        """Let go of it; no address may be used any more.

        It is unmapped with its last view: the traceback of a failed read can still hold one.
        """
        self.bytes = np.empty(0, np.uint8)
        del self._map
