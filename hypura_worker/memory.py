"""What this process takes of the machine, in bytes."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_USUAL_STACK_BYTES = 8 << 20


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


def allocated_bytes() -> int | None:
    """Private writable memory, touched or not (Linux's VmData); None where it is not known.

    Without the threads' stacks: they count whole there, and hardly any of them is ever touched.
    """
    data, threads = _status_bytes("VmData"), _status_number("Threads")
    if data is None or threads is None:
        return None
    stack_bytes, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return data - threads * (stack_bytes if stack_bytes != resource.RLIM_INFINITY else _USUAL_STACK_BYTES)


def read_bytes() -> int | None:
    """What this process has read from files, by any call (Linux's rchar); None where it is not known."""
    counters = getattr(psutil.Process(), "io_counters", None)
    return int(counters().read_chars) if counters is not None else None


def _status_bytes(field: str) -> int | None:
    kibibytes = _status_number(field)
    return kibibytes * 1024 if kibibytes is not None else None


def _status_number(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return None
