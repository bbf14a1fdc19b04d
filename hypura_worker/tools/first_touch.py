"""`python -m hypura_worker.tools.first_touch BYTES`: a process that takes so much memory, lets go of it, and ends."""

from __future__ import annotations

import sys

from hypura_worker.streaming.pool import Pool, commit

if __name__ == "__main__":
    wanted_bytes = int(sys.argv[1])
    sys.exit(0 if commit([(Pool(wanted_bytes), wanted_bytes)]) else 1)
