"""How fast expert slices are read by each layout: those of a model, and slices of the nearest aligned size instead.

    python -m tests.bench.slices MODEL.gguf [--seconds 60]

Random slices of one fused tensor, through the worker's reader and past the page cache, the layouts alternated: medians
of the useful bytes per second. `aligned` stands in for a model whose slices are multiples of a block.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
from gguf import GGUFReader

from hypura_worker.streaming.geometry import Slices, lay_out
from hypura_worker.streaming.pool import Pool
from hypura_worker.streaming.reader import Alignment, Batch, Reader

_AT_ONCE = 24
_QUEUE_DEPTH, _CHUNK_BYTES = 4, 1 << 20
_BLOCK = 4096


def layouts(
    descriptor: int, offset_bytes: int, slice_bytes: int, count: int, alignment: Alignment
) -> dict[str, Slices]:
    """The same room in the file, cut into aligned slices, and into the model's own, by each way that they can go."""
    aligned = slice_bytes // _BLOCK * _BLOCK
    start = -(-offset_bytes // _BLOCK) * _BLOCK
    return {
        "aligned": lay_out(descriptor, start, aligned, count - 1, alignment),
        "whole pages": lay_out(descriptor, offset_bytes, slice_bytes, count, Alignment(_BLOCK, _BLOCK), max_classes=32),
        "by 512 bytes": lay_out(descriptor, offset_bytes, slice_bytes, count, Alignment(512, 512), max_classes=16),
        "bounced": lay_out(descriptor, offset_bytes, slice_bytes, count, Alignment(_BLOCK, _BLOCK)),
    }


def _measure(reader: Reader, slices: Slices, count: int, pool: Pool, random: np.random.Generator) -> float:
    """Bytes of slices per second."""
    indices = random.choice(count - 1, _AT_ONCE, replace=False).astype(np.int64)
    places = np.empty(_AT_ONCE, np.uint64)
    taken: Counter[int] = Counter()
    for i, index in enumerate(indices):  # as the cache does: a place of the slice's class
        group = int(index) % slices.classes
        places[i] = pool.address + (taken[group] * slices.classes + group) * slices.stride_bytes
        taken[group] += 1
    batch, began = Batch(), time.perf_counter()
    reader.submit(slices.reads(indices, places), batch)
    reader.wait(batch)
    return _AT_ONCE * slices.slice_bytes / (time.perf_counter() - began)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    tensor = next(t for t in GGUFReader(asked.model).tensors if t.name.endswith("_exps.weight"))
    count = int(tensor.shape[2])
    slice_bytes = int(tensor.n_bytes) // count
    descriptor = os.open(asked.model, os.O_RDONLY | os.O_DIRECT)
    found = layouts(descriptor, int(tensor.data_offset), slice_bytes, count, Alignment(512, 512))
    room = max(_AT_ONCE * s.classes * s.stride_bytes + s.slack_bytes for s in found.values())
    pool, reader = Pool(room), Reader(_QUEUE_DEPTH, _CHUNK_BYTES)
    pool.bytes[: _AT_ONCE * slice_bytes * 2] = 0  # what is touched first is not what is measured
    random = np.random.default_rng(1)
    rates: dict[str, list[float]] = {name: [] for name in found}
    for slices in found.values():
        _measure(reader, slices, count, pool, random)
    end = time.monotonic() + asked.seconds
    while time.monotonic() < end:
        for name, slices in found.items():
            rates[name].append(_measure(reader, slices, count, pool, random))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(
        json.dumps(
            {
                "slice_bytes": slice_bytes,
                "rounds": len(rates["aligned"]),
                "bytes_per_second": middle,
                "of_aligned": {
                    name: statistics.median(v / a for v, a in zip(values, rates["aligned"], strict=True))
                    for name, values in rates.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
