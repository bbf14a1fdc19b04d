"""What happens to the models: the messages that the supervisor's task runs, one after the other.

state      what holds                            leaves to
UNLOADED   no worker                             LOADING (a request, once planned and room made)
LOADING    a worker starts and loads             READY (loaded), FAILED (death, error), UNLOADING (unload)
READY      requests hold leases on the worker    UNLOADING (unload, eviction, other options), FAILED (death)
UNLOADING  the worker is being ended             UNLOADED (ended)
FAILED     the last load or worker failed        LOADING (the next request)

A load is planned before anything is given up for it, so one that cannot be leaves all as it was.
Requests of a model are served in order. One that needs other options waits until the model is idle,
at most reload_wait_seconds, and those behind it wait with it.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from hypura.v1 import worker_pb2
from hypura_daemon.errors import BudgetTooSmall, HypuraError, ServerBusy, ShuttingDown, WorkerDied, WorkerFailed
from hypura_daemon.planning.types import LoadRequest, Mode, Plan
from hypura_daemon.scheduling.eviction import Holder, evict, spare_bytes, told
from hypura_daemon.workers.entry import Entry, Waiter
from hypura_daemon.workers.process import WorkerProcess
from hypura_daemon.workers.snapshot import Lease, LoadEvent, ModelSnapshot, ModelState
from hypura_daemon.workers.tenure import News, tenure

MAX_WAITERS = 512
MAX_REPLANS = 3
ENDING = "hypurad is ending and takes no new requests; start it again"

_log = structlog.get_logger()
_T = TypeVar("_T")


class Planner(Protocol):
    """Plans a load. request.memory_bytes is never 0; whole: it is all that is spare, so take what is needed."""

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan: ...


class Lifecycle:
    """Every model's state. Its methods are called by one task only, and do not block."""

    def __init__(
        self,
        planner: Planner,
        make_worker: Callable[[str], WorkerProcess],
        post: Callable[..., None],
        *,
        budget_bytes: int,
        reload_wait_seconds: float,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.closing = False
        self._planner = planner
        self._make_worker = make_worker
        self._post = post
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.
        self._reload_wait_seconds = reload_wait_seconds
        self._entries: dict[str, Entry] = {}
        self._generations = itertools.count(1)

    @property
    def busy(self) -> bool:
        """Whether a worker or a planning is left."""
        return any(entry.tenure or entry.planning for entry in self._entries.values())

    @property
    def leases(self) -> int:
        """Requests that run."""
        return sum(entry.leases for entry in self._entries.values())

    def snapshots(self) -> tuple[ModelSnapshot, ...]:
        """Models that are loaded, loading or failed, by name."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.name)
        return tuple(s for s in (entry.snapshot() for entry in entries) if s.state is not ModelState.UNLOADED)

    def spare_bytes(self, name: str) -> int:
        """What a load of this model may take at most."""
        return spare_bytes(self.budget_bytes, self._others(name))

    def wait(self, name: str, waiter: Waiter) -> None:
        entry = self._entries.setdefault(name, Entry(name))
        if self.closing:
            waiter.fail(ShuttingDown(ENDING))
        elif len(entry.waiters) >= MAX_WAITERS:
            waiter.fail(ServerBusy(f'{MAX_WAITERS} requests wait for "{name}" already; try again later'))
        else:
            entry.waiters.append(waiter)
            self._advance(entry)

    def abandon(self, name: str, waiter: Waiter) -> None:
        granted = waiter.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self.release(name, granted.result().generation)
        else:
            granted.cancel()
            if (entry := self._entries.get(name)) is not None:
                self._advance(entry)

    def release(self, name: str, generation: int) -> None:
        entry = self._entries.get(name)
        if entry is not None and entry.generation == generation and entry.leases:
            entry.leases -= 1
            entry.last_used_seconds = time.monotonic()
            self._advance(entry)

    def unload(self, name: str, done: asyncio.Future[bool]) -> None:
        entry = self._entries.get(name)
        if entry is None or (entry.tenure is None and entry.planning is None):
            self._entries.pop(name, None)  # A failure is forgotten, too.
            done.set_result(False)
            return
        gone = WorkerDied(f'"{name}" was unloaded before this request was served; ask again to load it')
        while entry.waiters:
            entry.waiters.popleft().fail(gone)
        entry.request, entry.pinned = LoadRequest(), False
        entry.forget_plan()
        if entry.planning is not None:
            entry.planning.cancel()
        entry.unloaded.append(done)
        if entry.tenure is not None:
            self._end(entry, "unloaded by request")
        else:
            self._settle(entry)

    def outdated(self, name: str, worker_pid: int) -> None:
        """The files of a loaded model changed. What streams from them ends; what is resident and answers, goes on."""
        entry = self._entries.get(name)
        if entry is None or entry.state is not ModelState.READY or entry.worker is None or entry.plan is None:
            return
        if entry.worker.pid == worker_pid and not (entry.leases and entry.plan.mode is Mode.RESIDENT):
            self._end(entry, "its files changed")

    def close(self) -> None:
        """Refuse those who wait and those who come."""
        self.closing = True
        for entry in self._entries.values():
            while entry.waiters:
                entry.waiters.popleft().fail(ShuttingDown(ENDING))

    def end_all(self) -> None:
        self.close()
        for entry in self._entries.values():
            if entry.planning is not None:
                entry.planning.cancel()
            if entry.tenure is not None:
                self._end(entry, "hypurad is ending")

    def _give_up(self, name: str, waiter: Waiter) -> None:
        entry = self._entries.get(name)
        if entry is not None and waiter in entry.waiters and not waiter.granted.done():
            waiter.fail(
                ServerBusy(
                    f'"{name}" is loaded with other options and still answers {entry.leases} requests after '
                    f"{self._reload_wait_seconds:g} seconds; try again later, or unload it"
                )
            )
            self._advance(entry)

    # The progress of one model.

    def _advance(self, entry: Entry) -> None:
        """Do what the first waiter needs, as far as it can be done now."""
        while entry.waiters and not self.closing:
            waiter = entry.waiters[0]
            if waiter.granted.done():
                entry.waiters.popleft()
                continue
            if entry.state is ModelState.READY and waiter.request in (None, entry.request):
                entry.waiters.popleft()
                self._grant(entry, waiter)
                continue
            waiter.saw_loading = True
            if entry.state in (ModelState.LOADING, ModelState.UNLOADING) or entry.planning is not None:
                return
            if entry.next_plan is None or entry.next_request != entry.wanted(waiter):
                self._plan(entry, entry.wanted(waiter))
            elif entry.state is not ModelState.READY:
                self._load(entry, entry.next_plan)
            elif entry.leases:
                if waiter.timer is None:
                    post = partial(self._post, self._give_up, entry.name, waiter)
                    waiter.timer = asyncio.get_running_loop().call_later(self._reload_wait_seconds, post)
            else:
                self._end(entry, "loaded anew with other options")
            if not waiter.granted.done():
                return

    def _grant(self, entry: Entry, waiter: Waiter) -> None:
        assert entry.worker is not None and entry.plan is not None and entry.loaded is not None
        if waiter.timer is not None:
            waiter.timer.cancel()
        entry.pinned = entry.pinned or waiter.pin
        entry.leases += 1
        waited_seconds = time.monotonic() - waiter.since_seconds if waiter.saw_loading else 0.0
        waiter.granted.set_result(Lease(entry.worker, entry.plan, entry.loaded, waited_seconds, entry.generation))

    def _plan(self, entry: Entry, request: LoadRequest) -> None:
        entry.next_request, entry.next_plan = request, None
        others = self._others(entry.name)
        # What is asked for is a limit: more than the whole budget is as good as all of it.
        asked_bytes = min(request.memory_bytes, self.budget_bytes)
        memory_bytes = asked_bytes or spare_bytes(self.budget_bytes, others)
        if memory_bytes == 0:
            self._fail_planning(entry, self._no_room(entry.name, others))
        else:
            entry.tell(LoadEvent(stage="planning"))
            work = self._plan_now(
                entry.name, replace(request, memory_bytes=memory_bytes), whole=request.memory_bytes != memory_bytes
            )
            entry.planning = self._task(work, name=f"plan {entry.name}")
            entry.planning.add_done_callback(lambda task: self._post(self._planning_ended, entry, task))

    async def _plan_now(self, name: str, request: LoadRequest, *, whole: bool) -> Plan | HypuraError:
        try:
            return await self._planner(name, request, whole=whole)
        except HypuraError as error:
            return error
        except Exception:
            _log.exception("planning failed", model=name)
            return WorkerFailed(f'planning "{name}" met a defect of hypura; see the daemon\'s log')

    def _planning_ended(self, entry: Entry, task: asyncio.Task[Plan | HypuraError]) -> None:
        entry.planning = None
        result = None if task.cancelled() else task.result()
        if isinstance(result, HypuraError):
            self._fail_planning(entry, result)
        elif entry.next_request is not None:  # None: forgotten meanwhile.
            entry.next_plan = result
        self._settle(entry)
        self._advance(entry)

    def _fail_planning(self, entry: Entry, error: HypuraError) -> None:
        """Fails those who wanted this load; whatever is loaded stays."""
        wanted = entry.next_request
        entry.forget_plan()
        others = self._others(entry.name)
        took_the_spare = wanted is not None and wanted.memory_bytes == 0 and not all(h.movable for h in others)
        if took_the_spare and isinstance(error, BudgetTooSmall) and error.required_bytes <= self.budget_bytes:
            error = ServerBusy(f"{error}; {self._no_room(entry.name, others)}")
        for waiter in [w for w in entry.waiters if entry.wanted(w) == wanted]:
            waiter.fail(error)

    def _load(self, entry: Entry, plan: Plan) -> None:
        """Makes room and starts a worker."""
        assert entry.next_request is not None
        others = self._others(entry.name)
        victims = evict(self.budget_bytes, others, plan.memory_limit_bytes)
        if victims is None:
            # What was spare when the plan was made has been taken since.
            if entry.next_request.memory_bytes == 0 and entry.replans < MAX_REPLANS:
                entry.replans += 1
                self._plan(entry, entry.next_request)
            else:
                self._fail_planning(entry, self._no_room(entry.name, others))
            return
        for victim in victims:
            entry.tell(LoadEvent(stage=f"unloading {victim} to make room"))
            self._end(self._entries[victim], f'making room for "{entry.name}"')
        leaving = [e.tenure for e in self._entries.values() if e.tenure and e.state is ModelState.UNLOADING]
        entry.request, entry.plan, entry.state = entry.next_request, plan, ModelState.LOADING
        entry.forget_plan()
        entry.loaded, entry.progress, entry.error = None, 0.0, ""
        entry.generation = next(self._generations)
        tell = partial(self._post, self._heard, entry, entry.generation)
        work = tenure(partial(self._make_worker, entry.name), plan, leaving, tell)
        entry.tenure = self._task(work, name=f"tenure of {entry.name}")
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
                entry.loaded_at_seconds, entry.last_used_seconds = time.time(), time.monotonic()
                self._advance(entry)
            case LoadEvent():
                entry.progress = news.share if news.share is not None else entry.progress
                entry.tell(news)

    def _end(self, entry: Entry, why: str) -> None:
        if entry.state is not ModelState.UNLOADING and entry.tenure is not None:
            _log.info("unloading", model=entry.name, why=why)
            entry.state = ModelState.UNLOADING
            entry.tenure.cancel()

    def _tenure_ended(self, entry: Entry, task: asyncio.Task[HypuraError]) -> None:
        entry.tenure, entry.worker, entry.leases = None, None, 0
        was_loading = entry.state is ModelState.LOADING
        if task.cancelled() or entry.state is ModelState.UNLOADING:
            entry.state = ModelState.UNLOADED
        else:
            error = task.result()
            entry.state, entry.error = ModelState.FAILED, str(error)
            _log.error("model failed", model=entry.name, error=str(error))
            for waiter in [w for w in entry.waiters if was_loading and entry.wanted(w) == entry.request]:
                waiter.fail(error)
        self._settle(entry)
        self._advance(entry)

    def _settle(self, entry: Entry) -> None:
        """Tells those who waited for its end, and forgets a model of which nothing is to be known."""
        if entry.tenure is not None:
            return
        for done in entry.unloaded:
            if not done.done():
                done.set_result(True)
        entry.unloaded.clear()
        entry.waiters = deque(waiter for waiter in entry.waiters if not waiter.granted.done())
        idle = entry.state is ModelState.UNLOADED and not entry.waiters and entry.planning is None
        if idle and entry.request == LoadRequest() and self._entries.get(entry.name) is entry:
            del self._entries[entry.name]

    def _task(self, work: Coroutine[Any, Any, _T], *, name: str) -> asyncio.Task[_T]:
        assert self.group is not None
        return self.group.create_task(work, name=name)

    def _others(self, name: str) -> list[Holder]:
        holders = (entry.holder() for entry in self._entries.values() if entry.name != name)
        return [holder for holder in holders if holder is not None]

    def _no_room(self, name: str, others: Sequence[Holder]) -> ServerBusy:
        return ServerBusy(
            f'there is no room for "{name}" in the budget of {self.budget_bytes / 1e9:.2f} GB: {told(others)}; '
            "unload one, wait for it, or ask for less memory"
        )
