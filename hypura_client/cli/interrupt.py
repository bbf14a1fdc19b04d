"""Ctrl-C while a stream is read: it ends the stream, at a place that gRPC is ready for.

A KeyboardInterrupt inside gRPC's own locking left the channel so that the next call never ended.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether Ctrl-C came."""

    came = False


@contextmanager
def cancelling(cancel: Callable[[], None]) -> Iterator[Interruption]:
    """Have Ctrl-C call `cancel` instead of raising; where it is ignored, or in another thread, nothing changes."""
    interruption = Interruption()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield interruption
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        interruption.came = True
        # In a thread of its own: the interrupted code may hold the locks that cancelling needs.
        threading.Thread(target=cancel, daemon=True).start()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
