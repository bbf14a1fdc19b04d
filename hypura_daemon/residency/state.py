"""The state of one model, what it waits for, and what others may see of it.

state      what holds                            leaves to
UNLOADED   no worker                             LOADING (start_loading)
LOADING    a worker starts and loads             READY (finish_loading), FAILED (fail), UNLOADING (start_unloading)
READY      requests hold leases on the worker    FAILED (fail), UNLOADING (start_unloading)
UNLOADING  the worker is being ended             UNLOADED (finish_unloading)
FAILED     the last load or worker failed        LOADING (start_loading), UNLOADED (reset)

A worker's task may also be cancelled from outside, when the supervisor's task fails: this leads from LOADING and READY
to UNLOADED at once (finish_unloading).

Only the methods of these classes change their fields, and only the supervisor's task calls methods that change them.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, ServerBusy, WorkerDied, WorkerFailed
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.lease import Lease, LoadEvent, Waiter
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.scheduling.rules import Crashes, expiry
from hypura_daemon.workers.process import WorkerProcess, WorkerState

SMALLER_SHARE = 0.75
"""Of the memory with which a worker was killed because the system's ran out, for the one retry."""


class ModelState(Enum):
    """See the table above."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


TRANSITIONS: Mapping[ModelState, frozenset[ModelState]] = {
    ModelState.UNLOADED: frozenset({ModelState.LOADING}),
    ModelState.LOADING: frozenset({ModelState.READY, ModelState.FAILED, ModelState.UNLOADING, ModelState.UNLOADED}),
    ModelState.READY: frozenset({ModelState.FAILED, ModelState.UNLOADING, ModelState.UNLOADED}),
    ModelState.UNLOADING: frozenset({ModelState.UNLOADED}),
    ModelState.FAILED: frozenset({ModelState.LOADING, ModelState.UNLOADED}),
}


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model at one moment, for everyone outside the supervisor's task."""

    name: str
    state: ModelState
    worker_pid: int  # 0 for none.
    plan: Plan | None
    loaded: worker_pb2.LoadedModel | None
    error: str
    load_progress: float  # 0 to 1.
    loaded_at_seconds: float  # Since the epoch; 0 when it never was.
    pinned: bool
    running_requests: int
    memory_limit_bytes: int  # What it holds of the budget.
    worker: WorkerProcess | None
    expires_at_seconds: float | None = None  # Since the epoch; None while it is used, and for never.
    keep_alive_seconds: float = -1.0  # How long it stays after its last request; negative is for ever.


@dataclass(slots=True, eq=False)
class PendingLoad:
    """A load that is planned, or is planned and waits for memory or for running requests."""

    request: LoadRequest
    offered_bytes: int  # The memory that it is planned for.
    awaited_bytes: int = 0  # It waits until this much memory can be had; 0 while it waits for none.
    planning: asyncio.Task[Plan | HypuraError] | None = None
    plan: Plan | None = None

    def start_planning(self, planning: asyncio.Task[Plan | HypuraError]) -> None:
        """The task computes its plan."""
        self.planning = planning

    def finish_planning(self) -> None:
        """The task has ended, with or without a plan."""
        self.planning = None

    def use_plan(self, plan: Plan) -> None:
        """The load will follow this plan."""
        self.plan = plan

    def wait_for_memory(self, awaited_bytes: int) -> None:
        """Wait until so much memory can be had; a load without a limit of its own is planned again then."""
        self.awaited_bytes = awaited_bytes
        if self.request.memory_limit_bytes == 0:
            self.plan = None  # The new plan is for what is spare then.

    def stop_waiting_for_memory(self) -> None:
        """There is room."""
        self.awaited_bytes = 0


@dataclass(slots=True, eq=False)
class SupervisedModel:
    """A model's state, its worker, and the requests that wait for it. Times are of the supervisor's clock."""

    name: str
    default_keep_alive_seconds: float
    state: ModelState = ModelState.UNLOADED
    request: LoadRequest = field(default_factory=LoadRequest)  # The options of the last load; kept when it is evicted.
    least_context_tokens: int = 0  # What a request needed; it stays so until the model has been idle long enough.
    requested_keep_alive_seconds: float | None = None  # What a request named last.
    reduced_memory_limit_bytes: int = 0  # The most that a load may take after memory ran out; 0 for no such limit.
    largest_context_tokens: int = 0  # The most that it can have within largest_context_bytes; 0: not known.
    largest_context_bytes: int = 0
    memory_limit_bytes: int = 0  # What its worker may take now: its plan's limit, or what it was resized to.
    next_memory_limit_bytes: int = 0  # What its worker is being resized to; 0 while it is not.
    cannot_resize: bool = False  # Its worker did not keep to a limit that it was given.
    pinned: bool = False
    generation: int = 0  # Counts its workers, so that late news of an earlier one is recognized.
    worker_task: asyncio.Task[HypuraError] | None = None
    worker: WorkerProcess | None = None
    plan: Plan | None = None
    loaded: worker_pb2.LoadedModel | None = None
    load_progress: float = 0.0
    error: str = ""
    loaded_at_seconds: float = 0.0  # Since the epoch.
    resident_since_seconds: float = math.inf
    idle_since_seconds: float = 0.0
    leases: int = 0
    crashes: Crashes = field(default_factory=Crashes)
    restart_at_seconds: float = math.inf
    pending: PendingLoad | None = None
    _waiters: deque[Waiter] = field(default_factory=deque)
    _unload_results: list[asyncio.Future[bool]] = field(default_factory=list)  # Of callers that wait for its end.

    # What follows from the fields.

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        """The requests that wait for it, in the order in which they came."""
        return tuple(self._waiters)

    @property
    def keep_alive_seconds(self) -> float:
        """How long it stays after its last request; negative for ever."""
        requested = self.requested_keep_alive_seconds
        return requested if requested is not None else self.default_keep_alive_seconds

    @property
    def expires_seconds(self) -> float:
        """When it is unloaded if no request comes; infinity while it is used, and for never."""
        if self.state is not ModelState.READY or self.leases or self.pinned:
            return math.inf
        return expiry(self.idle_since_seconds, self.keep_alive_seconds)

    @property
    def is_being_prepared(self) -> bool:
        """Whether its waiters wait for work that goes on, and not for memory or running requests."""
        pending = self.pending
        planning = pending is not None and pending.planning is not None and not pending.awaited_bytes
        return planning or self.state in (ModelState.LOADING, ModelState.UNLOADING)

    @property
    def forgettable(self) -> bool:
        """Whether it has nothing that must be remembered."""
        return (
            self.state is ModelState.UNLOADED
            and self.worker_task is None
            and self.pending is None
            and not self._waiters
            and self.request == LoadRequest()
            and self.requested_keep_alive_seconds is None
            and not self.least_context_tokens
        )

    def fits(self, waiter: Waiter) -> bool:
        """Whether it is loaded as this waiter needs it."""
        return (
            self.state is ModelState.READY
            and self.plan is not None
            and waiter.request in (None, self.request)
            and waiter.use.context_tokens <= self.plan.context_tokens
        )

    def first_unserved(self) -> Waiter | None:
        """The first waiter that needs another load."""
        return next((waiter for waiter in self._waiters if not self.fits(waiter)), None)

    def wanted_load(self) -> LoadRequest | None:
        """The load that its first unserved waiter needs, large enough for all who want the same options; None for none.

        A context that requests made larger stays so: two with different needs would otherwise reload it in turns.
        """
        first = self.first_unserved()
        if first is None:
            return None
        options = first.request if first.request is not None else self.request
        least = self.least_context_tokens if options == self.request else 0
        tokens = (waiter.use.load_tokens for waiter in self.unserved_with(options))
        return replace(options, least_context_tokens=max(least, *tokens, 0))

    def unserved_with(self, options: LoadRequest) -> list[Waiter]:
        """The unserved waiters that a load with these options would serve."""
        unserved = (waiter for waiter in self._waiters if not self.fits(waiter))
        return [w for w in unserved if (w.request if w.request is not None else self.request) == options]

    def holder(self) -> Holder | None:
        """Its part of the budget; None when it has none."""
        if self.worker_task is None or self.plan is None:
            return None
        if self.leases:
            kept = f"answers {self.leases} requests" if self.leases > 1 else "answers 1 request"
        else:
            kept = "pinned" if self.pinned else "" if self.state is ModelState.READY else self.state.value
        giveable_bytes, usable_bytes = self._elasticity()
        return Holder(
            name=self.name,
            memory_limit_bytes=max(self.memory_limit_bytes, self.next_memory_limit_bytes),
            kept=kept,
            giveable_bytes=giveable_bytes,
            usable_bytes=usable_bytes,
            leaving=self.state is ModelState.UNLOADING,
            pinned=self.pinned,
            expires_seconds=self.expires_seconds,
            last_used_seconds=self.idle_since_seconds,
            resident_since_seconds=self.resident_since_seconds,
        )

    def _elasticity(self) -> tuple[int, int]:
        """What it can give back, and what it could use beside what it has; a limit that was requested holds."""
        if self.state is not ModelState.READY or self.loaded is None:
            return 0, 0
        if self.next_memory_limit_bytes or self.cannot_resize:
            return 0, 0
        most_bytes = self.loaded.max_memory_limit_bytes
        for limit_bytes in (self.request.memory_limit_bytes, self.reduced_memory_limit_bytes):
            most_bytes = min(most_bytes, limit_bytes) if limit_bytes else most_bytes
        least_bytes = min(self.loaded.min_memory_limit_bytes or self.memory_limit_bytes, self.memory_limit_bytes)
        return self.memory_limit_bytes - least_bytes, max(0, most_bytes - self.memory_limit_bytes)

    def crash_pause_error(self, now_seconds: float) -> ServerBusy:
        """The refusal while it is not loaded again because its worker keeps dying."""
        return ServerBusy(
            f'"{self.name}" is not loaded again for {self.crashes.paused_until_seconds - now_seconds:.0f} seconds, '
            f"since its worker keeps dying before it answers: {self.error}; "
            f"`hypuractl load {self.name}` tries at once"
        )

    def snapshot(self, now_seconds: float) -> ModelSnapshot:
        """What others may see of it."""
        requested = self.pending is not None and self.state in (ModelState.UNLOADED, ModelState.FAILED)
        holder, expires_seconds = self.holder(), self.expires_seconds
        return ModelSnapshot(
            name=self.name,
            state=ModelState.LOADING if requested else self.state,
            worker_pid=self.worker.pid if self.worker is not None else 0,
            plan=self.plan,
            loaded=self.loaded,
            error=self.error,
            load_progress=self.load_progress,
            loaded_at_seconds=self.loaded_at_seconds,
            pinned=self.pinned,
            running_requests=self.leases,
            memory_limit_bytes=holder.memory_limit_bytes if holder is not None else 0,
            worker=self.worker if self.state is ModelState.READY else None,
            expires_at_seconds=None if expires_seconds == math.inf else time.time() + expires_seconds - now_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
        )

    # Requests that wait, and leases.

    def add_waiter(self, waiter: Waiter) -> None:
        """The request waits for it."""
        self._waiters.append(waiter)

    def drop_answered_waiters(self) -> None:
        """Forget the waiters that have a lease or an error, or whose clients have left."""
        self._waiters = deque(waiter for waiter in self._waiters if not waiter.granted.done())

    def fail_waiters(self, error: HypuraError) -> None:
        """Every waiter gets the error."""
        while self._waiters:
            self._waiters.popleft().fail(error)

    def notify(self, event: LoadEvent) -> None:
        """Pass news of a load to every waiter."""
        for waiter in self._waiters:
            waiter.on_event(event)

    def grant(self, waiter: Waiter) -> None:
        """Give the waiter a lease on the loaded model, and note how it wants the model kept."""
        assert self.worker is not None and self.plan is not None and self.loaded is not None
        self._waiters.remove(waiter)
        self.pinned = self.pinned or waiter.pin
        if waiter.use.keep_alive_seconds is not None:
            self.requested_keep_alive_seconds = waiter.use.keep_alive_seconds
        self.leases += 1
        lease = Lease(self.worker, self.plan, self.loaded, self.generation, self.request.context_tokens)
        waiter.granted.set_result(lease)

    def release(self, generation: int, now_seconds: float) -> None:
        """A lease of this worker has ended; one of an earlier worker counts no more."""
        if self.generation != generation or not self.leases:
            return
        self.leases -= 1
        self.idle_since_seconds = now_seconds
        if self.worker is not None and self.worker.state is WorkerState.SERVING:
            self.crashes = Crashes()

    # What requests want beside the load's options.

    def reset(self) -> None:
        """Forget all that was requested, and a failure; its worker, if there is one, is to be ended too."""
        self.request, self.pinned, self.crashes = LoadRequest(), False, Crashes()
        self.forget_wishes()
        self.drop_pending_load()
        if self.worker_task is None and self.state is not ModelState.UNLOADED:
            self._enter(ModelState.UNLOADED)

    def forget_wishes(self) -> None:
        """Requests' keep-alive and context, and the limits that were learned from them, hold no longer."""
        self.requested_keep_alive_seconds = None
        self.least_context_tokens = self.reduced_memory_limit_bytes = self.largest_context_tokens = 0
        if self.request.untuned:  # A tuning run that was killed must not leave its last candidate behind.
            self.request = LoadRequest()

    def stop_keeping(self) -> None:
        """It is no longer pinned, and ends with its last request."""
        self.pinned, self.requested_keep_alive_seconds = False, 0.0

    def forget_context_wish(self) -> None:
        """The next load need not have the context that an earlier request made larger."""
        self.least_context_tokens = 0

    def note_largest_context(self, tokens: int, within_bytes: int) -> None:
        """No more than so many tokens of context can be had within so much memory."""
        self.largest_context_tokens, self.largest_context_bytes = tokens, within_bytes

    def forget_crashes(self) -> None:
        """It is tried at once, with as much memory as any load."""
        self.crashes, self.reduced_memory_limit_bytes = Crashes(), 0

    # A load: planned, begun, ended.

    def set_pending_load(self, request: LoadRequest, offered_bytes: int) -> PendingLoad:
        """A load is planned, for so much memory; what it waits for stays as it was."""
        awaited_bytes = self.pending.awaited_bytes if self.pending is not None else 0
        self.pending = PendingLoad(request, offered_bytes, awaited_bytes)
        return self.pending

    def drop_pending_load(self) -> None:
        """Forget the load that was planned and not begun."""
        if self.pending is not None and self.pending.planning is not None:
            self.pending.planning.cancel()
        self.pending = None

    def fail_pending_load(self) -> None:
        """The load cannot be; the next one may take as much memory as any."""
        self.drop_pending_load()
        self.reduced_memory_limit_bytes = 0

    def start_loading(self, generation: int) -> Plan:
        """The pending load begins: its plan, which a worker of this generation is to follow."""
        pending = self.pending
        assert pending is not None and pending.plan is not None
        self._enter(ModelState.LOADING)
        self.drop_pending_load()
        options = options_of(pending.request)
        if options != self.request:
            self.largest_context_tokens = 0
        self.request, self.least_context_tokens = options, pending.request.least_context_tokens
        self.plan, self.loaded, self.load_progress, self.error = pending.plan, None, 0.0, ""
        self.memory_limit_bytes, self.next_memory_limit_bytes = pending.plan.memory_limit_bytes, 0
        self.cannot_resize = False
        self.generation, self.restart_at_seconds = generation, math.inf
        return pending.plan

    def set_worker_task(self, task: asyncio.Task[HypuraError]) -> None:
        """The task that runs its worker from now on."""
        self.worker_task = task

    def set_worker(self, worker: WorkerProcess) -> None:
        """Its worker's process starts."""
        self.worker = worker

    def report_progress(self, event: LoadEvent) -> None:
        """Note how far its load is, and pass it on to every waiter."""
        self.load_progress = event.share if event.share is not None else self.load_progress
        self.notify(event)

    def finish_loading(self, loaded: worker_pb2.LoadedModel, now_seconds: float) -> None:
        """Its worker has loaded it; one that is being ended meanwhile stays so."""
        if self.state is not ModelState.LOADING:
            return
        self._enter(ModelState.READY)
        self.loaded, self.load_progress = loaded, 1.0
        self.loaded_at_seconds = time.time()
        self.resident_since_seconds = self.idle_since_seconds = now_seconds

    def start_unloading(self) -> bool:
        """End its worker; False when there is none, or it is being ended already."""
        if self.state is ModelState.UNLOADING or self.worker_task is None:
            return False
        self._enter(ModelState.UNLOADING)
        self.worker_task.cancel()
        return True

    def finish_unloading(self) -> None:
        """Its worker has ended, as it should."""
        self._drop_worker()
        self._enter(ModelState.UNLOADED)

    def fail(self, error: HypuraError, now_seconds: float) -> None:
        """Its worker has died, or could not load it; those who waited for that load get the error.

        When the system's memory ran out, the load is tried once more with less. After several crashes the model is
        not loaded for a while, and everyone who waits is refused. A pinned model is loaded again by itself.
        """
        was_loading = self.state is ModelState.LOADING
        self._drop_worker()
        self._enter(ModelState.FAILED)
        self.error = str(error)
        if isinstance(error, WorkerDied) and error.out_of_memory and self.plan and not self.reduced_memory_limit_bytes:
            self.reduced_memory_limit_bytes = max(1, int(self.plan.memory_limit_bytes * SMALLER_SHARE))
            self.restart_at_seconds = now_seconds if self.pinned else math.inf
            self.notify(LoadEvent(stage="memory ran out; trying once more with less"))
            return
        if isinstance(error, WorkerDied | WorkerFailed):
            self.crashes = self.crashes.after(now_seconds)
            pause_seconds = max(self.crashes.paused_until_seconds - now_seconds, len(self.crashes.times_seconds))
            self.restart_at_seconds = now_seconds + pause_seconds if self.pinned else math.inf
        for waiter in self.unserved_with(self.request) if was_loading else ():
            waiter.fail(error)
        if now_seconds < self.crashes.paused_until_seconds:
            self.fail_waiters(self.crash_pause_error(now_seconds))

    def clear_restart(self) -> None:
        """Its restart was due, and is not due again."""
        self.restart_at_seconds = math.inf

    def _drop_worker(self) -> None:
        self.worker_task, self.worker, self.leases = None, None, 0
        self.resident_since_seconds = math.inf

    def _enter(self, state: ModelState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f'"{self.name}" cannot go from {self.state.value} to {state.value}')
        self.state = state

    # Resizing, and the end.

    def start_resizing(self, memory_limit_bytes: int) -> None:
        """Its worker is brought to this limit."""
        self.next_memory_limit_bytes = memory_limit_bytes

    def finish_resizing(self, result_bytes: int | None) -> bool:
        """The limit that its worker keeps now, None if it gave no answer; whether that is what was requested.

        A worker that does not keep to its new limit is not resized again, so that others look for room elsewhere.
        """
        wanted_bytes, self.next_memory_limit_bytes = self.next_memory_limit_bytes, 0
        if result_bytes is not None:
            self.memory_limit_bytes = result_bytes
        self.cannot_resize = self.cannot_resize or result_bytes != wanted_bytes
        return result_bytes == wanted_bytes

    def add_unload_result(self, result: asyncio.Future[bool]) -> None:
        """Set the result once it has ended."""
        self._unload_results.append(result)

    def set_unload_results(self) -> None:
        """It has ended."""
        for result in self._unload_results:
            if not result.done():
                result.set_result(True)
        self._unload_results.clear()


def options_of(request: LoadRequest) -> LoadRequest:
    """The load's own options, without what requests need beside them."""
    return replace(request, least_context_tokens=0)
