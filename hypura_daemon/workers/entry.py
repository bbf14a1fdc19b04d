"""What the supervisor knows of one model. Only the supervisor's task changes it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError
from hypura_daemon.planning.types import LoadRequest, Plan
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.workers.process import WorkerProcess
from hypura_daemon.workers.snapshot import Lease, LoadEvent, ModelSnapshot, ModelState


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits for its model; request is None when it takes the model as it is."""

    request: LoadRequest | None
    pin: bool
    on_event: Callable[[LoadEvent], None]
    granted: asyncio.Future[Lease]
    since_seconds: float = field(default_factory=time.monotonic)
    saw_loading: bool = False
    timer: asyncio.TimerHandle | None = None

    def fail(self, error: HypuraError) -> None:
        """Tell it that it waits in vain."""
        if not self.granted.done():
            self.granted.set_exception(error)


@dataclass(slots=True, eq=False)
class Entry:
    """A model's state, its worker, and who waits for it."""

    name: str
    state: ModelState = ModelState.UNLOADED
    request: LoadRequest = field(default_factory=LoadRequest)  # Asked for last; kept when it is evicted.
    pinned: bool = False
    generation: int = 0  # Counts tenures, so that late news of an earlier one is told apart.
    tenure: asyncio.Task[HypuraError] | None = None
    worker: WorkerProcess | None = None
    plan: Plan | None = None
    loaded: worker_pb2.LoadedModel | None = None
    progress: float = 0.0
    error: str = ""
    loaded_at_seconds: float = 0.0
    last_used_seconds: float = 0.0
    leases: int = 0
    waiters: deque[Waiter] = field(default_factory=deque)
    planning: asyncio.Task[Plan | HypuraError] | None = None
    next_request: LoadRequest | None = None
    next_plan: Plan | None = None
    replans: int = 0
    unloaded: list[asyncio.Future[bool]] = field(default_factory=list)  # Who waits for its end.

    def wanted(self, waiter: Waiter) -> LoadRequest:
        """The load that this waiter needs."""
        return waiter.request if waiter.request is not None else self.request

    def tell(self, event: LoadEvent) -> None:
        """Pass news to everyone who waits."""
        for waiter in self.waiters:
            waiter.on_event(event)

    def forget_plan(self) -> None:
        """Drop what was planned and not begun."""
        self.next_request = self.next_plan = None
        self.replans = 0

    def holder(self) -> Holder | None:
        """Its part of the budget; None when it has none."""
        if self.tenure is None or self.plan is None:
            return None
        return Holder(
            name=self.name,
            memory_bytes=self.plan.memory_limit_bytes,
            movable=self.state is ModelState.READY and not self.leases and not self.pinned,
            leaving=self.state is ModelState.UNLOADING,
            last_used_seconds=self.last_used_seconds,
        )

    def snapshot(self) -> ModelSnapshot:
        """The entry as others may see it."""
        planning = self.planning is not None and self.state in (ModelState.UNLOADED, ModelState.FAILED)
        holder = self.holder()
        return ModelSnapshot(
            name=self.name,
            state=ModelState.LOADING if planning else self.state,
            worker_pid=self.worker.pid if self.worker is not None else 0,
            plan=self.plan,
            loaded=self.loaded,
            error=self.error,
            load_progress=self.progress,
            loaded_at_seconds=self.loaded_at_seconds,
            pinned=self.pinned,
            running_requests=self.leases,
            memory_bytes=holder.memory_bytes if holder is not None else 0,
            worker=self.worker if self.state is ModelState.READY else None,
        )
