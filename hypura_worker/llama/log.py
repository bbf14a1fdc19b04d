"""llama.cpp's log: sent to structlog; the last errors are kept to explain a failure."""

from __future__ import annotations

import ctypes
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp
import structlog

_KEPT_LINES = 8
_LEVELS = {1: "debug", 2: "info", 3: "warning", 4: "error"}  # ggml_log_level
_WARNING = 3
_CONTINUATION = 5

_COMPUTE_BUFFER = re.compile(r"^sched_reserve: +(\S+) compute buffer size = +([\d.]+) MiB$")
_IN_THIS_PROCESS = ("CPU", "_Host")
"""How the names of buffers end that are not a device's own memory."""

_kept: deque[str] = deque(maxlen=_KEPT_LINES)
_compute_buffers: dict[str, int] = {}
_quiet = False


def last_errors() -> str:
    """The last warnings and errors of llama.cpp, newest last."""
    return "; ".join(_kept) or "llama.cpp gave no reason"


def forget_errors() -> None:
    """Forget the kept errors, before something whose failure they will explain."""
    _kept.clear()


def compute_bytes() -> int | None:
    """Size of the buffers of this process that the last context computes in; None if llama.cpp did not log it.

    The system has given hardly any of their pages yet, and llama.cpp has no function for their size.
    """
    sizes = [size for name, size in _compute_buffers.items() if name.endswith(_IN_THIS_PROCESS)]
    return sum(sizes) if sizes else None


@contextmanager
def quiet() -> Iterator[None]:
    """Log warnings and errors as debug lines meanwhile: what they are about is intended."""
    global _quiet
    _quiet = True
    try:
        yield
    finally:
        _quiet = False


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _write(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    line = text.decode(errors="replace").strip()
    if not line or line == "." or level == _CONTINUATION:
        return
    if found := _COMPUTE_BUFFER.match(line):
        _compute_buffers[found[1]] = int(float(found[2]) * (1 << 20))
    if level >= _WARNING:
        _kept.append(line)
    # llama.cpp's "info" is chatter to a user of hypura.
    name = _LEVELS.get(level, "debug")
    structlog.get_logger("llama.cpp").log(30 if name in ("warning", "error") and not _quiet else 10, line)


def redirect() -> None:
    """Send llama.cpp's log here from now on."""
    llama_cpp.llama_log_set(_write, ctypes.c_void_p(0))
