"""What this process takes of the machine, in bytes."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Resident memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """The most resident memory there ever was.

    From Linux's VmHWM: getrusage also counts what the parent held when it spawned this
    process. On macOS getrusage counts in bytes (getrusage(2)).
    """
    peak = _status_bytes("VmHWM")
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def counts_what_is_touched() -> bool:
    """Whether resident memory grows by what is touched and nothing else; elsewhere pages are compressed, too."""
    return _STATUS.exists()


def read_bytes() -> int | None:
    """What this process has read from files, by any call (Linux's rchar); None where it is not known."""
    counters = getattr(psutil.Process(), "io_counters", None)
    return int(counters().read_chars) if counters is not None else None


def _status_bytes(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    return None
