"""A worker's pulse: felt every few seconds, so that a worker that stopped is told from one that is slow.

deaf   its event loop does not answer, though it has nothing to do but that: the process is stopped, or hangs
hung   it answers, but requests wait and nothing moves: no message, no pass, no bytes read
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from hypura.v1 import worker_pb2

LEAST_MISSED = 3
"""However late it is: when this machine slept, or the daemon was stopped, one unanswered question proves nothing."""


class Pulse:
    """What is known of a worker's progress; figures: its counters as it told them last."""

    def __init__(self, deaf_seconds: float, hung_seconds: float) -> None:
        self.figures: worker_pb2.WorkerStatisticsResponse | None = None
        self.missed = 0  # Questions in a row without an answer.
        self._deaf_seconds = deaf_seconds
        self._hung_seconds = hung_seconds
        self._heard_seconds = self._moved_seconds = time.monotonic()
        self._running = 0

    def moved(self) -> None:
        """It did something."""
        self._moved_seconds = time.monotonic()

    @contextmanager
    def call(self) -> Iterator[None]:
        """While a request waits for it."""
        if not self._running:
            self.moved()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def beat(self, figures: worker_pb2.WorkerStatisticsResponse) -> None:
        """It answered with its counters."""
        if self.figures is None or _work(figures) != _work(self.figures):
            self.moved()
        self.figures, self.missed, self._heard_seconds = figures, 0, time.monotonic()

    def cause(self) -> str:
        """Why it must be ended; empty while it need not."""
        now_seconds = time.monotonic()
        deaf_seconds = now_seconds - self._heard_seconds
        if self.missed >= LEAST_MISSED and deaf_seconds >= self._deaf_seconds:
            return f"it did not answer for {deaf_seconds:.0f} seconds, as if it were stopped"
        hung_seconds = now_seconds - self._moved_seconds
        if self._running and not self.missed and hung_seconds >= self._hung_seconds:
            return f"it gave no sign for {hung_seconds:.0f} seconds with {self._running} requests to answer"
        return ""

    async def feel(
        self,
        ask: Callable[[float], Awaitable[worker_pb2.WorkerStatisticsResponse | None]],
        ended: asyncio.Event,
        every_seconds: float,
    ) -> str:
        """Ask until there is a cause to end it, or it has ended. ask: None when no answer comes in so many seconds."""
        while not ended.is_set():
            figures = await ask(self._deaf_seconds / (LEAST_MISSED + 1))
            if figures is None:
                self.missed += 1
            else:
                self.beat(figures)
            if cause := self.cause():
                return cause
            try:
                # An unanswered question has taken its time already; but one refused at once must not be a busy loop.
                await asyncio.wait_for(ended.wait(), min(every_seconds, 0.25) if self.missed else every_seconds)
            except TimeoutError:
                continue
        return ""


def _work(figures: worker_pb2.WorkerStatisticsResponse) -> tuple[int, ...]:
    return (
        figures.passes,
        figures.bytes_read,
        figures.prompt_tokens,
        figures.output_tokens,
        figures.finished_requests,
        figures.failed_requests,
    )
