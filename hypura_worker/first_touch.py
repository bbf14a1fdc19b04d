"""`python -m hypura_worker.first_touch BYTES`: a process that takes so much memory, touches it, and ends."""

from __future__ import annotations

import mmap
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hypura_worker.streaming.memory import Pool


def take(size_bytes: int) -> None:
    """Write to every page, by as many threads as there are processors: a host answers each by itself."""
    pool = Pool(size_bytes)
    parts = np.array_split(pool.bytes[:: mmap.PAGESIZE], os.cpu_count() or 1)
    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(lambda part: part.fill(1), parts))


if __name__ == "__main__":
    take(int(sys.argv[1]))
