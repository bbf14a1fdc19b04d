"""Loads models for the requests that need them, and ends models that are not used.

request ──message──► one task, `run` ──► Lifecycle (all state) ──► tasks: planning, running a worker
        ◄──lease────                 ◄────────── news ────────────

Public methods are messages to that one task, so nothing else changes a model's state. The task wakes by itself when a
time has come: a model expires, or a request has waited long enough.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from hypura_daemon.errors import ShuttingDown, WorkerDied
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.lease import AS_IT_IS, Lease, LoadEvent, Use, Waiter
from hypura_daemon.residency.lifecycle import ENDING, Lifecycle
from hypura_daemon.residency.pending_loads import Planner
from hypura_daemon.residency.state import ModelSnapshot, ModelState
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.system.threads import FILES
from hypura_daemon.workers.process import WorkerProcess

DEFAULT_RULES = Rules()
ENDED = "hypurad has ended, and the answer with it; ask again when it runs"

_log = structlog.get_logger()


def _ignore(event: LoadEvent) -> None:
    pass


class Supervisor:
    """The messages, and the task that serves them; nothing happens unless `run` runs."""

    def __init__(
        self,
        planner: Planner,
        make_worker: Callable[[str], WorkerProcess],
        *,
        memory_budget_bytes: int,
        reload_wait_seconds: float,
        rules: Rules = DEFAULT_RULES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory_budget_bytes = memory_budget_bytes
        self._inbox: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._lifecycle = Lifecycle(
            planner,
            make_worker,
            self._post,
            memory_budget_bytes=memory_budget_bytes,
            reload_wait_seconds=reload_wait_seconds,
            rules=rules,
            clock=clock,
        )
        self._snapshots: tuple[ModelSnapshot, ...] = ()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()  # Set while no request runs.
        self._idle.set()
        self._ending = False

    async def run(self) -> None:
        """Serve messages until `end`; no worker is left then, nor when it is cancelled."""
        async with asyncio.TaskGroup() as group:
            self._lifecycle.run_in(group)
            while not self._ending or self._lifecycle.busy or not self._inbox.empty():
                await self._serve_messages()
                self._lifecycle.step()
                self._publish()

    async def _serve_messages(self) -> None:
        """Run the messages that came; when there is none, wait for one until the next step is due."""
        wake_seconds = self._lifecycle.wake_seconds()
        wait_seconds = None if wake_seconds == math.inf else max(0.0, wake_seconds - self._lifecycle.clock())
        try:
            async with asyncio.timeout(wait_seconds):
                message = await self._inbox.get()
        except TimeoutError:
            return
        message()
        while not self._inbox.empty():
            self._inbox.get_nowait()()

    @asynccontextmanager
    async def lease(
        self,
        name: str,
        request: LoadRequest | None = None,
        *,
        pin: bool = False,
        use: Use = AS_IT_IS,
        insist: bool = False,
        on_event: Callable[[LoadEvent], None] = _ignore,
    ) -> AsyncIterator[Lease]:
        """Keep the model loaded while this is held; it is loaded first when it is not, or not as `request` says.

        Without a request the model is taken as it is, or loaded as it was loaded last; with a larger context
        when `use` says so, or with the largest that can be had where `use` accepts that. pin: keep it loaded
        until it is unloaded by name. insist: try even if its worker keeps dying. Raises ServerBusy,
        BudgetTooSmall, ContextTooLong, WorkerDied, WorkerFailed, ShuttingDown, and what planning raises.
        """
        if self._ending:
            raise ShuttingDown(ENDING)
        await self._reload_changed_files(name)
        granted = asyncio.get_running_loop().create_future()
        waiter = Waiter(request, pin, use, insist, on_event, granted, self._lifecycle.clock())
        self._post(self._lifecycle.wait, name, waiter)
        try:
            lease = await waiter.granted
        except asyncio.CancelledError:
            self._post(self._lifecycle.abandon, name, waiter)
            raise
        try:
            yield lease
        except WorkerDied as error:
            if self._ending:
                raise ShuttingDown(ENDED) from error
            raise
        finally:
            self._post(self._lifecycle.release, name, lease.generation)

    async def _reload_changed_files(self, name: str) -> None:
        """End a model whose files are no longer what was planned, so that it is reloaded before it is used again."""
        loaded = next((s for s in self._snapshots if s.name == name and s.state is ModelState.READY), None)
        if loaded is None or loaded.plan is None:
            return
        if await FILES(files_changed, loaded.plan, key=name):
            self._post(self._lifecycle.end_outdated, name, loaded.worker_pid)

    async def unload(self, name: str) -> bool:
        """End the model's worker, running answers included; returns whether there was one."""
        return await self._answered(self._lifecycle.unload, name)

    async def retire(self, name: str) -> bool:
        """Unload the model once the requests that run or wait have ended; returns whether it was loaded.

        It returns when the model has ended if no request runs, and at once otherwise.
        """
        return await self._answered(self._lifecycle.retire, name)

    async def _answered(self, message: Callable[[str, asyncio.Future[bool]], None], name: str) -> bool:
        if self._ending:
            raise ShuttingDown(ENDING)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._post(message, name, done)
        return await done

    def status(self) -> tuple[ModelSnapshot, ...]:
        """The models that are loaded, loading or failed."""
        return self._snapshots

    def spare_bytes(self, name: str) -> int:
        """What a load of this model may take at most now."""
        return self._lifecycle.budget.spare_bytes(name)

    def granted_bytes(self, requested_bytes: int) -> int:
        """What a load that requests so much would be planned with now."""
        return self._lifecycle.budget.granted_bytes(requested_bytes)

    @property
    def current_budget_bytes(self) -> int:
        """How much of the budget all models may have now."""
        return self._lifecycle.budget.current_budget_bytes

    @property
    def planned_bytes(self) -> int:
        """What models hold of the budget, those that were killed and hang in the system too."""
        return sum(holder.memory_limit_bytes for holder in self._lifecycle.budget.holders())

    def set_current_budget(self, current_budget_bytes: int, other_programs: str = "") -> None:
        """Keep to so much of the budget from now on; other_programs: those that need the rest."""
        self._post(self._lifecycle.set_budget, current_budget_bytes, other_programs)

    async def watch(self) -> AsyncGenerator[tuple[ModelSnapshot, ...], None]:
        """The status now, and again after every change of a state; changes in quick succession may be one."""
        while True:
            changed = self._changed
            yield self._snapshots
            await changed.wait()

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new requests, and wait for the running ones, for grace_seconds at most."""
        self._post(self._lifecycle.close)
        try:
            async with asyncio.timeout(grace_seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("requests are cut off at the end of the grace time", grace_seconds=grace_seconds)

    def end(self) -> None:
        """End all workers; `run` returns when they have ended."""
        self._ending = True
        self._post(self._lifecycle.end_all)

    def _post(self, message: Callable[..., None], *arguments: object) -> None:
        self._inbox.put_nowait(partial(message, *arguments))

    def _publish(self) -> None:
        before, self._snapshots = self._snapshots, self._lifecycle.snapshots()
        (self._idle.clear if self._lifecycle.leases else self._idle.set)()
        if [_watched_fields(s) for s in before] != [_watched_fields(s) for s in self._snapshots]:
            self._changed.set()
            self._changed = asyncio.Event()


def _watched_fields(snapshot: ModelSnapshot) -> tuple[object, ...]:
    """The fields whose changes `watch` reports."""
    return snapshot.name, snapshot.state, snapshot.worker_pid, snapshot.error, snapshot.pinned


def files_changed(plan: Plan) -> bool:
    """Whether a file of the plan is missing, or differs from what was planned."""
    return any(file.has_changed() for file in plan.files)
