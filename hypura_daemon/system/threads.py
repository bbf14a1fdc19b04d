"""Threads for work that would hold up the event loop: each kind of work has its own few, and a queue with a bound.

await FILES(work, …) ─► queue of the kind ─► a thread of the kind ─► its result, or what it raised
                           │ full: ServerBusy

asyncio's default executor is one queue for everything: six slow chat templates were seen to hold all its threads, so
that listing the models waited for them. These threads are daemonic: one that hangs in a read does not keep the process
alive.
"""

import asyncio
import contextvars
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hypura_daemon.errors import ServerBusy

IDLE_SECONDS = 30.0
"""A thread without work ends after this time."""
QUICK_SECONDS = 0.25
_KEPT_KEYS = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    key: int
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]
    slow: bool = False  # It counts among those that may not have all threads.


class Threads:
    """The threads of one kind of work, to be called from event loops.

    count: threads at most. waiting: jobs that may wait for one. per_key: jobs of one key that run at a time, 0 for no
    limit. reserved: threads for keys whose last job took less than QUICK_SECONDS, so that slow and unknown keys never
    have all threads.
    """

    def __init__(self, name: str, count: int, *, waiting: int = 256, per_key: int = 0, reserved: int = 0) -> None:
        self._name = name
        self._count = count
        self._most_waiting = waiting
        self._per_key = per_key
        self._reserved = reserved
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: Counter[int] = Counter()
        self._slow = 0
        self._threads = self._idle = 0
        self._quick: OrderedDict[int, None] = OrderedDict()

    async def __call__(self, work: Callable[..., T], *arguments: Any, key: str = "") -> T:
        """What the work returns or raises. Raises ServerBusy when too many wait.

        key: what the work is about, such as a model's name. When the caller is cancelled, work that has not begun is
        dropped; work that has begun goes on.
        """
        loop = asyncio.get_running_loop()
        bound = partial(contextvars.copy_context().run, work, *arguments)
        job = _Job(bound, hash(key) if key else 0, loop, loop.create_future())
        with self._changed:
            if self._running.total() + len(self._waiting) >= self._count + self._most_waiting:
                raise ServerBusy(f"{len(self._waiting)} requests wait for {self._name} already; try again")
            self._waiting.append(job)
            self._changed.notify_all()
            if self._idle < len(self._waiting) and self._threads < self._count:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"hypura {self._name}", daemon=True).start()
        try:
            return await job.result  # type: ignore[no-any-return]
        finally:
            if job.result.cancelled():
                with self._changed:
                    if job in self._waiting:
                        self._waiting.remove(job)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            began = time.monotonic()
            try:
                result, error = job.work(), None
            except BaseException as raised:
                result, error = None, raised
            seconds = time.monotonic() - began
            self._ended(job, quick=seconds < QUICK_SECONDS)
            try:
                job.loop.call_soon_threadsafe(_set_result, job.result, result, error)
            except RuntimeError:
                pass  # The loop is closed: no caller waits.
            del job, result, error

    def _next(self) -> _Job | None:
        """The next job; None when there has been none for IDLE_SECONDS, so that the thread ends."""
        with self._changed:
            while True:
                job = next(filter(self._may_run, self._waiting), None)
                if job is not None:
                    self._waiting.remove(job)
                    self._running[job.key] += 1
                    job.slow = job.key not in self._quick
                    self._slow += job.slow
                    return job
                self._idle += 1
                waited = self._changed.wait(IDLE_SECONDS)
                self._idle -= 1
                if not waited and not self._waiting:
                    self._threads -= 1
                    return None

    def _may_run(self, job: _Job) -> bool:
        if self._per_key and job.key and self._running[job.key] >= self._per_key:
            return False
        return job.key in self._quick or self._slow < self._count - self._reserved

    def _ended(self, job: _Job, *, quick: bool) -> None:
        with self._changed:
            self._running[job.key] -= 1
            if not self._running[job.key]:
                del self._running[job.key]
            self._slow -= job.slow
            self._quick.pop(job.key, None)
            if quick:
                self._quick[job.key] = None
            while len(self._quick) > _KEPT_KEYS:
                self._quick.popitem(last=False)
            self._changed.notify_all()


def _set_result(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("the work raised StopIteration"))
    else:
        future.set_exception(error)


FILES = Threads("models' files", 12, waiting=1024, per_key=3, reserved=4)
"""Reading models' files; the key is the model's name. Where a drive hangs, a model holds three threads at most, and
four are left to models that answered quickly."""
HOME = Threads("the home folder", 2)
"""Small files in the home."""
DOWNLOADS = Threads("downloads", 8, waiting=256)
"""Writing, hashing and moving whole models."""
SYSTEM = Threads("the system's figures", 2)
"""Memory and its pressure."""
MEASURING = Threads("measurements", 4)
"""Measuring the machine and its drives, which takes seconds."""
PLANNING = Threads("plans", 2)
"""The planner's computing."""
REQUESTS = Threads("requests that are being read", 4, waiting=512)
"""Reading large requests, and converting them to requests for the worker."""
TEMPLATES = Threads("chat templates", 4, per_key=2, reserved=1)
"""Rendering chat templates, each thread in a process of its own; the key is the template's text."""


async def in_own_thread(work: Callable[[], T], *, name: str) -> T:
    """Run the work in a thread of its own; returns or raises what it does.

    For work that may hang in the system, such as a read from a drive that is gone: such a thread holds up neither the
    shared threads nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def set_result(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(set_result, result, failure)
        except RuntimeError:
            return  # The loop has ended, and with it the caller that waited.

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
