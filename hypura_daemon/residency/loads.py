"""Begins and ends the loads of all models: a worker for each, and what its end means for those who wait."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, WorkerDied, WorkerFailed
from hypura_daemon.residency.admission import paused
from hypura_daemon.residency.drafting import base_of
from hypura_daemon.residency.entry import Draft, Entry
from hypura_daemon.residency.snapshot import LoadEvent, ModelState
from hypura_daemon.residency.tenure import News, tenure
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.workers.process import WorkerProcess

SMALLER_SHARE = 0.75
"""Of the memory with which a worker was killed because the system's ran out, for the one retry."""

_log = structlog.get_logger()


class Loads:
    """`post` brings what it is given to the supervisor's task, where all of this runs."""

    def __init__(
        self,
        make_worker: Callable[[str], WorkerProcess],
        entries: Mapping[str, Entry],
        remains: dict[int, Holder],
        post: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        self._make_worker = make_worker
        self._entries = entries
        self._remains = remains
        self._post = post
        self._clock = clock
        self._generations = itertools.count(1)
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def begin(self, entry: Entry, draft: Draft, victims: tuple[str, ...]) -> None:
        """Make room and start a worker."""
        assert draft.plan is not None and self.group is not None
        for victim in victims:
            entry.tell(LoadEvent(stage=f"unloading {victim} to make room"))
            self.end(self._entries[victim], f'making room for "{entry.name}"')
        entries = self._entries.values()
        leaving = {e.tenure: e.worker for e in entries if e.tenure and e.state is ModelState.UNLOADING}
        entry.drop_draft()
        if base_of(draft.request) != entry.request:
            entry.most_tokens = 0
        entry.request, entry.least_context_tokens = base_of(draft.request), draft.request.least_context_tokens
        entry.plan, entry.state = draft.plan, ModelState.LOADING
        entry.loaded, entry.progress, entry.error = None, 0.0, ""
        entry.limit_bytes, entry.resizing_to_bytes, entry.rigid = draft.plan.memory_limit_bytes, 0, False
        entry.generation, entry.restart_at_seconds = next(self._generations), math.inf
        tell = partial(self._post, self._heard, entry, entry.generation)
        work = tenure(partial(self._make_worker, entry.name), draft.plan, leaving, tell)
        entry.tenure = self.group.create_task(work, name=f"tenure of {entry.name}")
        entry.tenure.add_done_callback(lambda task: self._post(self._tenure_ended, entry, task))

    def _heard(self, entry: Entry, generation: int, news: News) -> None:
        """News of a tenure."""
        if entry.generation != generation:
            return
        match news:
            case WorkerProcess():
                entry.worker = news
            case worker_pb2.LoadedModel() if entry.state is ModelState.LOADING:
                entry.loaded, entry.state, entry.progress = news, ModelState.READY, 1.0
                entry.loaded_at_seconds = time.time()
                entry.resident_since_seconds = entry.idle_since_seconds = self._clock()
            case LoadEvent():
                entry.progress = news.share if news.share is not None else entry.progress
                entry.tell(news)

    def _leave_behind(self, entry: Entry, worker: WorkerProcess) -> None:
        """Count a worker that hangs in the system until it has gone."""
        self._remains[worker.pid] = Holder(
            name=entry.name,
            memory_bytes=max(entry.limit_bytes, entry.resizing_to_bytes),
            kept=f"worker {worker.pid} was killed and hangs in the system",
            pinned=True,
        )
        waiting = asyncio.ensure_future(worker.gone.wait())
        waiting.add_done_callback(lambda _: self._post(self._remains.pop, worker.pid, None))

    def expire(self, entry: Entry) -> None:
        """End a model that nobody asked for in time."""
        self.end(entry, f"not used for {entry.keep_alive_seconds:g} seconds")
        entry.forget_wishes()

    def end(self, entry: Entry, why: str) -> None:
        """End its worker, if it has one."""
        if entry.state is not ModelState.UNLOADING and entry.tenure is not None:
            _log.info("unloading", model=entry.name, why=why)
            entry.state = ModelState.UNLOADING
            entry.tenure.cancel()

    def _tenure_ended(self, entry: Entry, task: asyncio.Task[HypuraError]) -> None:
        """A worker is gone: as it should, or for a reason that is told to those who waited for it."""
        was_loading, ended = entry.state is ModelState.LOADING, entry.state is ModelState.UNLOADING
        if entry.worker is not None and entry.worker.hangs:
            self._leave_behind(entry, entry.worker)
        entry.tenure, entry.worker, entry.leases = None, None, 0
        entry.resident_since_seconds = math.inf
        if task.cancelled() or ended:
            entry.state = ModelState.UNLOADED
            return
        error = task.result()
        entry.state, entry.error = ModelState.FAILED, str(error)
        _log.error("model failed", model=entry.name, error=str(error))
        now_seconds = self._clock()
        if isinstance(error, WorkerDied) and error.out_of_memory and not entry.cap_bytes and entry.plan is not None:
            entry.cap_bytes = max(1, int(entry.plan.memory_limit_bytes * SMALLER_SHARE))
            entry.restart_at_seconds = now_seconds if entry.pinned else math.inf
            entry.tell(LoadEvent(stage="memory ran out; trying once more with less"))
            return
        if isinstance(error, WorkerDied | WorkerFailed):
            entry.crashes = entry.crashes.after(now_seconds)
            pause_seconds = max(entry.crashes.paused_until_seconds - now_seconds, len(entry.crashes.times_seconds))
            entry.restart_at_seconds = now_seconds + pause_seconds if entry.pinned else math.inf
        for waiter in entry.askers(entry.request) if was_loading else ():
            waiter.fail(error)
        if now_seconds < entry.crashes.paused_until_seconds:
            entry.fail_waiters(paused(entry, now_seconds))
