"""A worker's health: its counters are asked for every few seconds, to tell a worker that stopped from one that is slow.

deaf   its event loop does not answer, though that is all it does: the process is stopped, or hangs
hung   it answers, but requests wait and nothing progresses: no message, no pass, no bytes read
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from hypura.v1 import worker_pb2

LEAST_MISSED = 3
"""Missed heartbeats before a worker counts as deaf, however long it was silent: when the machine slept or the daemon
was stopped, one proves nothing."""


class WorkerHealth:
    """What is known of a worker's progress; counters: the ones that it reported last."""

    def __init__(self, deaf_seconds: float, hung_seconds: float) -> None:
        self.counters: worker_pb2.WorkerStatisticsResponse | None = None
        self.missed = 0  # Heartbeats in a row without an answer.
        self._deaf_seconds = deaf_seconds
        self._hung_seconds = hung_seconds
        self._answered_at_seconds = self._progress_at_seconds = time.monotonic()
        self._running = 0

    def note_progress(self) -> None:
        """The worker did something."""
        self._progress_at_seconds = time.monotonic()

    @contextmanager
    def call(self) -> Iterator[None]:
        """While a request waits for the worker."""
        if not self._running:
            self.note_progress()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def note_heartbeat(self, counters: worker_pb2.WorkerStatisticsResponse) -> None:
        """The worker answered with its counters."""
        if self.counters is None or _work(counters) != _work(self.counters):
            self.note_progress()
        self.counters, self.missed, self._answered_at_seconds = counters, 0, time.monotonic()

    def failure(self) -> str:
        """Why the worker must be ended; empty while it need not."""
        now_seconds = time.monotonic()
        deaf_seconds = now_seconds - self._answered_at_seconds
        if self.missed >= LEAST_MISSED and deaf_seconds >= self._deaf_seconds:
            return f"it did not answer for {deaf_seconds:.0f} seconds, as if it were stopped"
        hung_seconds = now_seconds - self._progress_at_seconds
        if self._running and not self.missed and hung_seconds >= self._hung_seconds:
            return f"it made no progress for {hung_seconds:.0f} seconds with {self._running} requests to answer"
        return ""

    async def watch(
        self,
        ask: Callable[[float], Awaitable[worker_pb2.WorkerStatisticsResponse | None]],
        ended: asyncio.Event,
        heartbeat_seconds: float,
    ) -> str:
        """Ask for the counters until there is a reason to end the worker, which is returned, or it has ended.

        ask: returns None when no answer comes in so many seconds.
        """
        while not ended.is_set():
            counters = await ask(self._deaf_seconds / (LEAST_MISSED + 1))
            if counters is None:
                self.missed += 1
            else:
                self.note_heartbeat(counters)
            if failure := self.failure():
                return failure
            # A missed heartbeat has taken its time already; but a call that is refused at once must not be a busy loop.
            pause_seconds = min(heartbeat_seconds, 0.25) if self.missed else heartbeat_seconds
            try:
                await asyncio.wait_for(ended.wait(), pause_seconds)
            except TimeoutError:
                continue
        return ""


def _work(counters: worker_pb2.WorkerStatisticsResponse) -> tuple[int, ...]:
    return (
        counters.passes,
        counters.bytes_read,
        counters.prompt_tokens,
        counters.output_tokens,
        counters.finished_requests,
        counters.failed_requests,
    )
