"""What every run starts from: an empty page cache, and memory that the machine's host has already given.

Some hosts give memory to a virtual machine only when it is first touched, and take it back when it is free (free page
reporting). Without `touch` every run would start by waiting for the host: 2.5 s per GB were measured, where clearing
pages takes 0.1 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_LONGEST_TOUCH_SECONDS = 300.0
_TOUCHED_SHARE = 0.9
"""Of the memory that may be used: the process needs some for itself."""
_START_SECONDS = 1.0
_SLOW_BYTES_PER_SECOND = 2e9


def empty_page_cache(files: Iterable[Path], drop_caches: Path = _DROP_CACHES) -> str:
    """Empty the page cache as far as this user may. Returns of what: "everything", "the model's files" or "nothing"."""
    try:
        if drop_caches.exists():
            drop_caches.write_text("1")
            return "everything"
    except OSError:
        pass  # Only root may write there.
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return "nothing"
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return "the model's files"


@dataclass(frozen=True, slots=True)
class FirstTouch:
    """How many bytes were touched, and how long that took."""

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

    size_bytes = int(_TOUCHED_SHARE * min(allowed_bytes, psutil.virtual_memory().available))
    began = time.monotonic()
    try:
        command = [*prefix, sys.executable, "-P", "-m", "hypura_worker.tools.first_touch", str(size_bytes)]
        done = subprocess.run(command, timeout=_LONGEST_TOUCH_SECONDS, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return None
    return FirstTouch(size_bytes, time.monotonic() - began) if done.returncode == 0 else None
