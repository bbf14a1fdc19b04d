"""Embedding tensors that stay on the drive: a pass needs only the rows of its tokens.

file     │row 0│row 1│ …        │row i│ …            hundreds of megabytes, of which a text uses few
memory   │     .     .  ┌───────┴─────┴──┐           as much address space; of it in memory:
         │              │ pages of row i │           the pages with rows of the last tokens
         │              └────────────────┘
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hypura_worker.errors import EngineBroken, ReadFailed
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.library import hook
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.reader import READ, Alignment, Batch, Reader
from hypura_worker.streaming.streamed_tensors import StreamedTensor

_CHUNK_BYTES = 64 << 10

Integers = npt.NDArray[np.int64]


def misread(node: str) -> EngineBroken:
    """The error for a pass that was stopped: this node uses more of an embedding tensor than the tokens' rows."""
    return EngineBroken(f"this architecture uses its embeddings in a way hypura does not know ({node})")


class EmbeddingRows:
    """Keeps the rows of a pass's tokens in memory, and of earlier tokens as many as fit cache_bytes.

    It has read threads of its own: a row is a few kilobytes, and should not queue behind layers.
    """

    def __init__(
        self,
        arena: Arena,
        tensors: Sequence[StreamedTensor],
        descriptors: Sequence[int],
        alignment: Alignment,
        queue_depth: int,
        cache_bytes: int,
    ) -> None:
        # Less than a page of the system cannot be given back: 16 KiB on Apple's processors.
        page_bytes = max(mmap.PAGESIZE, alignment.offset_bytes, alignment.memory_bytes)
        total = sum(tensor.length_bytes for tensor in tensors)
        self._arena = arena
        self._tables = []
        for tensor in tensors:
            share = cache_bytes * tensor.length_bytes // total
            arena.gather(tensor.address)
            self._tables.append(_Table(tensor, descriptors[tensor.file], page_bytes, share // page_bytes))
        self._reader = Reader(queue_depth, _CHUNK_BYTES)

    @property
    def held_bytes(self) -> int:
        """Memory of the rows that are held."""
        return sum(table.held_bytes for table in self._tables)

    @property
    def bytes_read(self) -> int:
        """Since the load."""
        return int(self._reader.figures().bytes)

    def bring(self, tokens: Sequence[int]) -> None:
        """Have the rows of these tokens in memory. Raises ReadFailed."""
        ids = np.unique(np.array(tokens, np.int64))
        for table in self._tables:
            table.bring(ids, self._reader)
        self._arena.expect(ids.astype(np.int32))

    def delay(self, milliseconds: int) -> None:
        """Delay each read by so much: a slow drive, for tests."""
        self._reader.delay(milliseconds)

    def close(self) -> None:
        """Release the memory; after the context is freed."""
        self._reader.close()
        for table in self._tables:
            table.close()


class _Table:
    """One tensor. used: [pages] the pass that last used each page, 0 where it is not in memory."""

    def __init__(self, tensor: StreamedTensor, descriptor: int, page_bytes: int, limit_pages: int) -> None:
        self._name = tensor.name
        self._descriptor = descriptor
        self._page_bytes = page_bytes
        self._limit_pages = limit_pages
        self._start = tensor.offset_bytes // page_bytes * page_bytes
        self._front = tensor.offset_bytes - self._start
        self._end = tensor.offset_bytes + tensor.length_bytes
        self._row_bytes = tensor.length_bytes // tensor.shape[1]
        pages = -(-(self._end - self._start) // page_bytes)
        # Addresses must be aligned as the file's offsets are, to pages that may be larger than the system's.
        self._pool = Pool((pages + 1) * page_bytes, huge=False)
        self._shift = -self._pool.address % page_bytes
        self._used = np.zeros(pages, np.int32)
        self._held = self._pass = 0
        hook().hypura_tensor_place(tensor.address, self._pool.address + self._shift + self._front)

    @property
    def held_bytes(self) -> int:
        return self._held * self._page_bytes

    def bring(self, ids: Integers, reader: Reader) -> None:
        self._pass += 1
        wanted = self._pages_of(ids)
        missing = wanted[self._used[wanted] == 0]
        if missing.size:
            self._used[wanted[self._used[wanted] > 0]] = self._pass
            self._make_room(missing.size)
            self._read(missing, reader)
            self._held += missing.size
        self._used[wanted] = self._pass

    def close(self) -> None:
        self._pool.close()

    def _pages_of(self, ids: Integers) -> Integers:
        """The pages that these rows touch, in order."""
        begin = self._front + ids * self._row_bytes
        first, last = begin // self._page_bytes, (begin + self._row_bytes - 1) // self._page_bytes
        widest = int((last - first).max()) + 1
        return np.unique(np.minimum(first[:, np.newaxis] + np.arange(widest), last[:, np.newaxis]))

    def _make_room(self, pages: int) -> None:
        """If so many more pages would pass the limit, release those unused for longest until half of it is in use."""
        if self._held + pages <= self._limit_pages:
            return
        held = np.flatnonzero((self._used > 0) & (self._used < self._pass))
        surplus = min(held.size, self._held + pages - self._limit_pages // 2)
        if surplus <= 0:
            return
        oldest = np.sort(held[np.argpartition(self._used[held], surplus - 1)[:surplus]])
        for first, last in _runs(oldest):
            self._pool.release(self._shift + first * self._page_bytes, (last - first + 1) * self._page_bytes)
        self._used[oldest] = 0
        self._held -= surplus

    def _read(self, missing: Integers, reader: Reader) -> None:
        runs = _runs(missing)
        reads = np.zeros(len(runs), READ)
        begin = runs[:, 0] * self._page_bytes
        length = (runs[:, 1] - runs[:, 0] + 1) * self._page_bytes
        reads["fd"] = self._descriptor
        reads["offset"] = self._start + begin
        reads["length_bytes"] = length
        reads["required_bytes"] = np.minimum(length, self._end - self._start - begin)
        reads["dest"] = begin + (self._pool.address + self._shift)
        batch = Batch()
        reader.submit(reads, batch)
        try:
            reader.wait(batch)
        except ReadFailed as error:
            for first, last in runs:  # pages that were read are not counted
                self._pool.release(self._shift + first * self._page_bytes, (last - first + 1) * self._page_bytes)
            raise ReadFailed(f"{self._name}: {error}") from error


def _runs(pages: Integers) -> Integers:
    """[runs, 2]: the first and the last page of each run of neighbours; pages are in order."""
    breaks = np.flatnonzero(np.diff(pages) != 1)
    return np.stack((pages[np.r_[0, breaks + 1]], pages[np.r_[breaks, pages.size - 1]]), axis=1)
