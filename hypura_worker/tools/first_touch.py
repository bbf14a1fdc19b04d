"""`python -m hypura_worker.tools.first_touch BYTES`: touches so much memory, frees it, and ends."""

from __future__ import annotations

import sys

from hypura_worker.streaming.pool import Pool, commit

if __name__ == "__main__":
    size_bytes = int(sys.argv[1])
    sys.exit(0 if commit([(Pool(size_bytes), size_bytes)]) else 1)
