"""A run's memory, touched before the run: some hosts give memory to a virtual machine only then, and slowly.

They take it back when it is free (free page reporting), so that every run would begin with waiting for the host:
2.5 s per GB have been seen, where clearing pages takes 0.1 s.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST_SECONDS = 300.0
_SHARE = 0.9
"""Of the memory that may be used: the process needs some for itself."""
_START_SECONDS = 1.0
_SLOW_BYTES_PER_SECOND = 2e9


@dataclass(frozen=True, slots=True)
class FirstTouch:
    """So many bytes were touched in so many seconds."""

    size_bytes: int
    seconds: float

    @property
    def slow(self) -> bool:
        """Whether the memory was waited for, and not only cleared."""
        return self.seconds > _START_SECONDS + self.size_bytes / _SLOW_BYTES_PER_SECOND


def touch(allowed_bytes: int, prefix: Sequence[str] = ()) -> FirstTouch | None:
    """Take most of allowed_bytes in a process of its own, and let go of it; prefix puts it into a cgroup.

    Never more than is available. None where it ended before it had everything, or took longer than five minutes.
    """
    import psutil  # only here: it costs every other command its import

    size_bytes = int(_SHARE * min(allowed_bytes, psutil.virtual_memory().available))
    began = time.monotonic()
    try:
        command = [*prefix, sys.executable, "-P", "-m", "hypura_worker.tools.first_touch", str(size_bytes)]
        done = subprocess.run(command, timeout=_LONGEST_SECONDS, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return None
    return FirstTouch(size_bytes, time.monotonic() - began) if done.returncode == 0 else None
