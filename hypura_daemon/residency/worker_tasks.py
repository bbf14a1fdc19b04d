"""The tasks of the models' workers: start, load and watch one, resize it, end it."""

import asyncio
import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import structlog

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, ServerBusy, WorkerDied, WorkerFailed
from hypura_daemon.planning.plan import Mode, Plan
from hypura_daemon.planning.wire import plan_to_proto
from hypura_daemon.residency.admission import paused
from hypura_daemon.residency.lease import LoadEvent
from hypura_daemon.residency.pending_loads import base_of
from hypura_daemon.residency.state import Draft, Entry, ModelState
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.workers.process import WorkerProcess

_log = structlog.get_logger()
_E = TypeVar("_E", bound=Exception)


News = WorkerProcess | LoadEvent | worker_pb2.LoadedModel


def worker_environment(plan: Plan) -> dict[str, str]:
    """The daemon's own, with what llama.cpp reads from there."""
    environment = dict(os.environ)
    # It would run a debugger on itself, whose output hides the failed assertion's message.
    environment.setdefault("GGML_NO_BACKTRACE", "1")
    # Weights in huge pages where the system leaves that to programs; other C libraries than glibc do not look.
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    if plan.mode in (Mode.EXPERT_STREAMING, Mode.DENSE_STREAMING):
        # A recorded CUDA graph replays addresses, and streamed weights move.
        environment["GGML_CUDA_DISABLE_GRAPHS"] = "1"
    if plan.spin_count is not None and not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = str(plan.spin_count)
    return environment


async def tenure(
    make_worker: Callable[[], WorkerProcess],
    plan: Plan,
    leaving: Mapping[asyncio.Task[HypuraError], WorkerProcess | None],
    tell: Callable[[News], None],
) -> HypuraError:
    """Runs until the worker has ended, and says why. Cancel it to end the worker.

    leaving: tenures whose memory this one needs, and their workers. tell: called in the event loop, must not block.
    """
    try:
        if leaving:
            tell(LoadEvent(stage="waiting for memory of other models"))
            await asyncio.wait(leaving)
            for worker in leaving.values():
                if worker is not None and worker.hangs:
                    raise ServerBusy(
                        f'"{plan.model}" finds no room: worker {worker.pid} of "{worker.model}" was killed and hangs '
                        "in the system with its memory; look at the drive that it reads from, and try again"
                    )
        return await _run(make_worker(), plan, tell)
    except* HypuraError as group:
        error = _first(group)
    except* Exception as group:
        _log.exception("a worker's tenure failed", model=plan.model, exc_info=group)
        error = WorkerFailed(f'"{plan.model}" met a defect of hypura ({_first(group)!r}); see the daemon\'s log')
    return error


async def _run(worker: WorkerProcess, plan: Plan, tell: Callable[[News], None]) -> HypuraError:
    async with asyncio.TaskGroup() as tasks:
        try:
            tell(LoadEvent(stage="starting a worker"))
            tell(worker)
            await worker.start(tasks, worker_environment(plan))
            tell(LoadEvent(stage="loading"))
            if not await _load(worker, plan, tell):
                raise WorkerFailed(f'worker {worker.pid} of "{plan.model}" ended Load without a result; load it again')
            death = await worker.wait()
        finally:
            await worker.stop()
    return death.error()


async def _load(worker: WorkerProcess, plan: Plan, tell: Callable[[News], None]) -> bool:
    async with aclosing(worker.load(plan_to_proto(plan))) as messages:
        async for message in messages:
            if message.HasField("loaded"):
                tell(message.loaded)
                return True
            tell(LoadEvent(share=message.progress))
    return False


def _first(group: ExceptionGroup[_E]) -> _E:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, ExceptionGroup) else inner


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
        entry.memory_limit_bytes, entry.next_memory_limit_bytes, entry.rigid = draft.plan.memory_limit_bytes, 0, False
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
            memory_limit_bytes=max(entry.memory_limit_bytes, entry.next_memory_limit_bytes),
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
        if (
            isinstance(error, WorkerDied)
            and error.out_of_memory
            and not entry.reduced_memory_limit_bytes
            and entry.plan is not None
        ):
            entry.reduced_memory_limit_bytes = max(1, int(entry.plan.memory_limit_bytes * SMALLER_SHARE))
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


_log = structlog.get_logger()


class Resizing:
    """`post` brings what it is given to the supervisor's task."""

    def __init__(self, entries: Mapping[str, Entry], post: Callable[..., None]) -> None:
        self._entries = entries
        self._post = post
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def begin(self, limits: Mapping[str, int]) -> None:
        """Bring these models to these limits; those that are being brought to others come to it later."""
        assert self.group is not None
        for name, memory_limit_bytes in limits.items():
            entry = self._entries[name]
            if entry.worker is None or entry.next_memory_limit_bytes or memory_limit_bytes == entry.memory_limit_bytes:
                continue
            _log.info("resizing", model=name, from_bytes=entry.memory_limit_bytes, to_bytes=memory_limit_bytes)
            entry.next_memory_limit_bytes = memory_limit_bytes
            task = self.group.create_task(_resize(entry.worker, memory_limit_bytes), name=f"resize {name}")
            task.add_done_callback(partial(self._post, self._ended, entry, entry.generation))

    def _ended(self, entry: Entry, generation: int, task: asyncio.Task[int | HypuraError]) -> None:
        if entry.generation != generation:
            return
        asked_bytes, entry.next_memory_limit_bytes = entry.next_memory_limit_bytes, 0
        result = task.result() if not task.cancelled() else None
        if isinstance(result, int):
            entry.memory_limit_bytes = result
        if result != asked_bytes:
            entry.rigid = True  # It cannot do what it said: whoever needs room must find it elsewhere.
            _log.warning("a worker kept its memory", model=entry.name, asked_bytes=asked_bytes, result=str(result))


async def _resize(worker: WorkerProcess, memory_limit_bytes: int) -> int | HypuraError:
    try:
        return await worker.resize(memory_limit_bytes)
    except HypuraError as error:
        return error
    except Exception:
        _log.exception("resizing failed", model=worker.model)
        return WorkerFailed(f'resizing "{worker.model}" met a defect of hypura')
