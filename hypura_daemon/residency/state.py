"""The state of one model, and what others may see of it. Only the supervisor's task changes it."""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.lease import LoadEvent, Waiter
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.scheduling.rules import Crashes, expiry
from hypura_daemon.workers.process import WorkerProcess


class ModelState(Enum):
    """The states of a model; the supervisor's docstring has the transitions."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model at one moment."""

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
class Draft:
    """A load that is planned, or waits to be possible."""

    request: LoadRequest
    memory_limit_bytes: int  # What it was planned for.
    planning: asyncio.Task[Plan | HypuraError] | None = None
    plan: Plan | None = None
    wanted_bytes: int = 0  # The memory that it needs and did not find.


@dataclass(slots=True, eq=False)
class Entry:
    """A model's state, its worker, and who waits for it. Times are of the supervisor's clock unless said."""

    name: str
    default_keep_alive_seconds: float
    state: ModelState = ModelState.UNLOADED
    request: LoadRequest = field(default_factory=LoadRequest)  # Asked for last; kept when it is evicted.
    least_context_tokens: int = 0  # What a request needed; it stays so until the model has been idle long enough.
    asked_keep_alive_seconds: float | None = None  # What a request named last.
    reduced_memory_limit_bytes: int = 0  # After it ran out of memory; 0 for none.
    most_tokens: int = 0  # The largest context that it can have where most_tokens_bytes can be had; 0: not known.
    most_tokens_bytes: int = 0
    memory_limit_bytes: int = 0  # What its worker may take now: its plan's limit, or what it was resized to.
    next_memory_limit_bytes: int = 0  # 0 while it is not being resized.
    rigid: bool = False  # Its worker did not keep to a limit it was given.
    pinned: bool = False
    generation: int = 0  # Counts tenures, so that late news of an earlier one is told apart.
    tenure: asyncio.Task[HypuraError] | None = None
    worker: WorkerProcess | None = None
    plan: Plan | None = None
    loaded: worker_pb2.LoadedModel | None = None
    progress: float = 0.0
    error: str = ""
    loaded_at_seconds: float = 0.0  # Since the epoch.
    resident_since_seconds: float = math.inf
    idle_since_seconds: float = 0.0
    leases: int = 0
    crashes: Crashes = field(default_factory=Crashes)
    restart_at_seconds: float = math.inf
    waiters: deque[Waiter] = field(default_factory=deque)
    draft: Draft | None = None
    unloaded: list[asyncio.Future[bool]] = field(default_factory=list)  # Who waits for its end.

    @property
    def keep_alive_seconds(self) -> float:
        """How long it stays after its last request; negative for ever."""
        asked = self.asked_keep_alive_seconds
        return asked if asked is not None else self.default_keep_alive_seconds

    @property
    def expires_seconds(self) -> float:
        """When it is unloaded if nobody asks again; infinity while it is used, and for never."""
        if self.state is not ModelState.READY or self.leases or self.pinned:
            return math.inf
        return expiry(self.idle_since_seconds, self.keep_alive_seconds)

    def fits(self, waiter: Waiter) -> bool:
        """Whether it is loaded as this waiter needs it."""
        return (
            self.state is ModelState.READY
            and self.plan is not None
            and waiter.request in (None, self.request)
            and waiter.use.context_tokens <= self.plan.context_tokens
        )

    @property
    def under_way(self) -> bool:
        """Whether its waiters wait for work that goes on, and for nothing that others have."""
        planning = self.draft is not None and self.draft.planning is not None and not self.draft.wanted_bytes
        return planning or self.state in (ModelState.LOADING, ModelState.UNLOADING)

    def unserved(self) -> Waiter | None:
        """The first waiter that another load is needed for."""
        return next((waiter for waiter in self.waiters if not self.fits(waiter)), None)

    def wanted(self) -> LoadRequest | None:
        """The load that its first unserved waiter needs, and with it those who ask for no other; None for none.

        A context that requests made larger stays so: two with different wishes would else take turns reloading.
        """
        first = self.unserved()
        if first is None:
            return None
        base = first.request if first.request is not None else self.request
        least = self.least_context_tokens if base == self.request else 0
        return replace(base, least_context_tokens=max(least, *(w.use.load_tokens for w in self.askers(base)), 0))

    def askers(self, base: LoadRequest) -> list[Waiter]:
        """The unserved waiters that a load with these options would be for."""
        asked = ((w, w.request if w.request is not None else self.request) for w in self.waiters if not self.fits(w))
        return [waiter for waiter, request in asked if request == base]

    def tell(self, event: LoadEvent) -> None:
        """Pass news to everyone who waits."""
        for waiter in self.waiters:
            waiter.on_event(event)

    def purge(self) -> None:
        """Forget the waiters that have been told, or have gone."""
        self.waiters = deque(waiter for waiter in self.waiters if not waiter.granted.done())

    def fail_waiters(self, error: HypuraError) -> None:
        """Everyone who waits does so in vain."""
        while self.waiters:
            self.waiters.popleft().fail(error)

    def drop_draft(self) -> None:
        """Forget the load that was planned and not begun."""
        if self.draft is not None and self.draft.planning is not None:
            self.draft.planning.cancel()
        self.draft = None

    @property
    def forgettable(self) -> bool:
        """Whether nothing is to be known of it."""
        return (
            self.state is ModelState.UNLOADED
            and self.tenure is None
            and self.draft is None
            and not self.waiters
            and self.request == LoadRequest()
            and self.asked_keep_alive_seconds is None
            and not self.least_context_tokens
        )

    def forget_wishes(self) -> None:
        """What requests asked for beside the load's options holds no longer."""
        self.asked_keep_alive_seconds = None
        self.least_context_tokens = self.reduced_memory_limit_bytes = self.most_tokens = 0
        if self.request.untuned:  # A tune that was killed must not leave its last candidate behind.
            self.request = LoadRequest()

    def holder(self) -> Holder | None:
        """Its part of the budget; None when it has none."""
        if self.tenure is None or self.plan is None:
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
        """What it can give back, and what it could use beside what it has; what it was asked for is a limit."""
        if self.state is not ModelState.READY or self.loaded is None or self.next_memory_limit_bytes or self.rigid:
            return 0, 0
        most_bytes = self.loaded.max_memory_limit_bytes
        for memory_limit_bytes in (self.request.memory_limit_bytes, self.reduced_memory_limit_bytes):
            most_bytes = min(most_bytes, memory_limit_bytes) if memory_limit_bytes else most_bytes
        least_bytes = min(self.loaded.min_memory_limit_bytes or self.memory_limit_bytes, self.memory_limit_bytes)
        return self.memory_limit_bytes - least_bytes, max(0, most_bytes - self.memory_limit_bytes)

    def snapshot(self, now_seconds: float) -> ModelSnapshot:
        """The entry as others may see it."""
        asked_for = self.draft is not None and self.state in (ModelState.UNLOADED, ModelState.FAILED)
        holder, expires_seconds = self.holder(), self.expires_seconds
        return ModelSnapshot(
            name=self.name,
            state=ModelState.LOADING if asked_for else self.state,
            worker_pid=self.worker.pid if self.worker is not None else 0,
            plan=self.plan,
            loaded=self.loaded,
            error=self.error,
            load_progress=self.progress,
            loaded_at_seconds=self.loaded_at_seconds,
            pinned=self.pinned,
            running_requests=self.leases,
            memory_limit_bytes=holder.memory_limit_bytes if holder is not None else 0,
            worker=self.worker if self.state is ModelState.READY else None,
            expires_at_seconds=None if expires_seconds == math.inf else time.time() + expires_seconds - now_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
        )
