"""The process itself: its log, its standard streams, its memory, and its end together with its parent."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import psutil
import structlog
from google.protobuf.message import Message
from structlog.typing import EventDict

from hypura.json_lines import to_line

_LENGTH = struct.Struct("<I")
_STATUS = Path("/proc/self/status")


def configure_log(level: str, model: str) -> None:
    """Log JSON lines to standard error, which the daemon reads; never prompts or answers.

    From `level` (debug, info, warning, error) on, every line with the model's name.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(model=model)


def _with_request_id(logger: object, method: str, event: EventDict) -> EventDict:
    """The engine's thread serves many requests and passes `request`; other lines take it from their task's context."""
    if "request" in event:
        event["request_id"] = event.pop("request")
    return event


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, else None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def end_with_parent(clean_up: Callable[[], None] = lambda: None) -> None:
    """Kill this process group when standard input closes: its other end is held by the parent process."""

    def watch() -> None:
        try:
            while os.read(0, 4096):
                pass
            clean_up()
        finally:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def read_message(max_bytes: int, sender: str) -> bytes:
    """A message from standard input: its length in four bytes, then itself. Exits for anything else.

    Read without a buffer, since end_with_parent reads standard input, too.
    """

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.read(0, count - len(data))
            if not more:
                raise SystemExit(f"standard input ended before its message; this program is started by {sender}")
            data += more
        return data

    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > max_bytes:
        raise SystemExit(f"standard input announces {length} bytes; this program is started by {sender}")
    return read(length)


def write_line(message: Message, output: TextIO | None = None) -> None:
    """Write the message as a line of JSON, to standard output unless another one is given."""
    print(to_line(message), file=output, flush=True)


def claim_stdout() -> TextIO:
    """Standard output for this program's answer alone; what libraries print goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answer


def resident_bytes() -> int:
    """Resident memory now."""
    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """The most resident memory so far.

    From Linux's VmHWM: getrusage also counts what the parent held when it spawned this
    process. On macOS getrusage counts in bytes (getrusage(2)).
    """
    peak = _status_bytes("VmHWM")
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_counts_touched_pages() -> bool:
    """Whether resident memory grows by touched pages and nothing else; elsewhere pages are compressed, too."""
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
