"""Reads: every slice lands whole, wherever it lies in the file and whatever alignment the drive needs."""

from __future__ import annotations

import os
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_worker.errors import ReadFailed
from hypura_worker.streaming.geometry import lay_out
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.reader import Alignment, Batch, Reader

FILE_BYTES = 3_000_000
DATA = np.random.default_rng(5).integers(0, 256, FILE_BYTES, np.uint8).tobytes()


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory: pytest.TempPathFactory) -> int:
    path = tmp_path_factory.mktemp("reads") / "data"
    path.write_bytes(DATA)
    return os.open(path, os.O_RDONLY)


@settings(max_examples=60)
@given(
    offset=st.integers(0, 20_000).map(lambda n: 32 * n),
    slice_bytes=st.integers(1, 30_000).map(lambda n: 4 * n),
    count=st.integers(1, 12),
    alignment=st.sampled_from([(512, 4), (512, 512), (4096, 4), (4096, 512), (4096, 4096), (1, 1)]),
    max_classes=st.sampled_from([1, 4, 128]),
    chunk_bytes=st.sampled_from([65_536, 1 << 20]),
)
def test_every_slice_lands_whole(
    descriptor: int,
    offset: int,
    slice_bytes: int,
    count: int,
    alignment: tuple[int, int],
    max_classes: int,
    chunk_bytes: int,
) -> None:
    offset -= offset % max(1, min(alignment[1], 32))
    count = min(count, (FILE_BYTES - offset) // slice_bytes)
    if count < 1:
        return
    slices = lay_out(descriptor, offset, slice_bytes, count, Alignment(*alignment), max_classes=max_classes)
    pool = Pool(count * slices.classes * slices.stride_bytes + slices.slack_bytes)
    reader = Reader(3, chunk_bytes)
    try:
        order = np.random.default_rng(1).permutation(count).astype(np.int64)
        # Any order, but each slice in a place of its class.
        numbers = np.arange(count) * slices.classes + order % slices.classes
        places = np.uint64(pool.address) + numbers.astype(np.uint64) * np.uint64(slices.stride_bytes)
        reads = slices.reads(order, places)
        direct = reads["dest"][reads["copy_dest"] == 0]
        assert not (direct % alignment[1]).any(), "a direct read to an address that the drive refuses"
        assert not (reads["offset"] % alignment[0]).any()
        batch = Batch()
        reader.submit(reads, batch)
        reader.wait(batch)
        for place, index in zip(numbers, order, strict=True):
            start = place * slices.stride_bytes + slices.shift_bytes
            wanted = DATA[offset + index * slice_bytes : offset + (index + 1) * slice_bytes]
            assert pool.bytes[start : start + slice_bytes].tobytes() == wanted
        assert reader.figures().bytes >= count * slice_bytes
    finally:
        reader.close()


def test_the_end_of_the_file_is_a_failure_with_its_tag(descriptor: int) -> None:
    slices = lay_out(descriptor, FILE_BYTES - 3000, 1000, 5, Alignment(512, 4))
    pool, reader, batch = Pool(5 * slices.stride_bytes), Reader(2, 65_536), Batch()
    try:
        places = np.uint64(pool.address) + np.arange(4, dtype=np.uint64) * np.uint64(slices.stride_bytes)
        reader.submit(slices.reads(np.array([0, 1, 2, 3]), places), batch)
        with pytest.raises(ReadFailed, match="ended before"):
            reader.wait(batch)
        assert batch.failed_tag == 3
    finally:
        reader.close()


def test_a_read_error_is_reported_by_name(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    slices = lay_out(folder, 0, 4096, 1, Alignment(512, 4))
    pool, reader, batch = Pool(slices.stride_bytes), Reader(1, 65_536), Batch()
    try:
        reader.submit(slices.reads(np.zeros(1, np.int64), np.array([pool.address], np.uint64)), batch)
        with pytest.raises(ReadFailed, match="Is a directory"):
            reader.wait(batch)
    finally:
        reader.close()
        os.close(folder)
