"""Owns the workers: who wants a model gets it loaded, and holds it while he uses it.

request ──message──► one task, `run` ──► Lifecycle (all state) ──► tasks: planning, a worker's tenure
        ◄──lease────                 ◄────────── news ────────────

Public methods are messages to that one task, so nothing else changes a model's state. It wakes by itself
when a time has come: a model expires, a request has waited long enough.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

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
CUT = "hypurad has ended, and the answer with it; ask again when it runs"

_log = structlog.get_logger()


def _ignore(event: LoadEvent) -> None:
    pass


class Supervisor:
    """See above. Nothing happens unless `run` runs."""

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
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._ending = False

    async def run(self) -> None:
        """Serve messages until `end`; no worker is left then, nor when it is cancelled."""
        async with asyncio.TaskGroup() as group:
            self._lifecycle.run_in(group)
            while not self._ending or self._lifecycle.busy or not self._inbox.empty():
                await self._messages()
                self._lifecycle.step()
                self._publish()

    async def _messages(self) -> None:
        """Run what came, waiting for it until the next step is due."""
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
        """Hold the model loaded; it is loaded first when it is not, or not as `request` says.

        Without a request the model is taken as it is, or loaded as it was loaded last; with a larger context
        when use says so, or with the largest that can be had where use is content with that. pin: keep it loaded
        until it is unloaded by name. insist: try even if its worker keeps dying. Raises ServerBusy,
        BudgetTooSmall, ContextTooLong, WorkerDied, WorkerFailed, ShuttingDown, and what planning raises.
        """
        if self._ending:
            raise ShuttingDown(ENDING)
        await self._notice_changed_files(name)
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
                raise ShuttingDown(CUT) from error
            raise
        finally:
            self._post(self._lifecycle.release, name, lease.generation)

    async def _notice_changed_files(self, name: str) -> None:
        """A model whose files are no longer what was planned is loaded anew before it is used again."""
        loaded = next((s for s in self._snapshots if s.name == name and s.state is ModelState.READY), None)
        if loaded is None or loaded.plan is None:
            return
        if await FILES(files_changed, loaded.plan, key=name):
            self._post(self._lifecycle.outdated, name, loaded.worker_pid)

    async def unload(self, name: str) -> bool:
        """End the model's worker, running answers included; whether there was one."""
        return await self._told(self._lifecycle.unload, name)

    async def retire(self, name: str) -> bool:
        """Unload the model once the requests that run or wait have ended; whether it was loaded.

        Returns when it has ended if nothing runs, else at once.
        """
        return await self._told(self._lifecycle.retire, name)

    async def _told(self, message: Callable[[str, asyncio.Future[bool]], None], name: str) -> bool:
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
        return self._lifecycle.holdings.spare_bytes(name)

    def granted_bytes(self, asked_bytes: int) -> int:
        """What a load that asks for so much would be planned with now."""
        return self._lifecycle.holdings.granted_bytes(asked_bytes)

    @property
    def current_budget_bytes(self) -> int:
        """How much of the budget all models may have now."""
        return self._lifecycle.holdings.memory_budget_bytes

    @property
    def planned_bytes(self) -> int:
        """What models hold of the budget, those that were killed and hang in the system too."""
        return sum(holder.memory_limit_bytes for holder in self._lifecycle.holdings.holders())

    def limit(self, memory_budget_bytes: int, others: str = "") -> None:
        """Keep to so much of the budget from now on; others: the programs that need the rest."""
        self._post(self._lifecycle.limit, memory_budget_bytes, others)

    async def watch(self) -> AsyncGenerator[tuple[ModelSnapshot, ...], None]:
        """The status now, and again after every change of a state; changes in quick succession may be one."""
        while True:
            changed = self._changed
            yield self._snapshots
            await changed.wait()

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new requests, and wait for those that run, at most so long."""
        self._post(self._lifecycle.close)
        try:
            async with asyncio.timeout(grace_seconds):
                await self._quiet.wait()
        except TimeoutError:
            _log.warning("requests are cut off", grace_seconds=grace_seconds)

    def end(self) -> None:
        """End all workers; `run` returns when they have ended."""
        self._ending = True
        self._post(self._lifecycle.end_all)

    def _post(self, message: Callable[..., None], *arguments: object) -> None:
        self._inbox.put_nowait(partial(message, *arguments))

    def _publish(self) -> None:
        before, self._snapshots = self._snapshots, self._lifecycle.snapshots()
        (self._quiet.clear if self._lifecycle.leases else self._quiet.set)()
        if [_face(s) for s in before] != [_face(s) for s in self._snapshots]:
            self._changed.set()
            self._changed = asyncio.Event()


def _face(snapshot: ModelSnapshot) -> tuple[object, ...]:
    """What makes a watcher look up."""
    return snapshot.name, snapshot.state, snapshot.worker_pid, snapshot.error, snapshot.pinned


def files_changed(plan: Plan) -> bool:
    """Whether a file of the plan is gone or another than it was."""
    for file in plan.files:
        try:
            status = Path(file.path).stat()
        except OSError:
            return True
        if (status.st_size, status.st_mtime_ns, status.st_ino) != (
            file.size_bytes,
            file.modified_nanoseconds,
            file.inode,
        ):
            return True
    return False
