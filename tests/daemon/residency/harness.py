"""A supervisor whose planner, workers and clock the test controls; its workers are real processes without a model."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, ModelNotFound
from hypura_daemon.planning.plan import Bound, Estimate, IoPlan, LoadRequest, Mode, Plan
from hypura_daemon.residency.lease import Lease, LoadEvent, Use
from hypura_daemon.residency.state import ModelSnapshot, ModelState
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess

FAKE = Path(__file__).with_name("fake_worker.py")
RULES = Rules()


TRAINED_TOKENS = 32768


@dataclass
class Clock:
    """Advances by a microsecond each time it is read, and otherwise only when the test advances it."""

    now_seconds: float = 1000.0

    def __call__(self) -> float:
        self.now_seconds += 1e-6
        return self.now_seconds


def make_plan(name: str, memory_limit_bytes: int, mode: Mode = Mode.RESIDENT, context_tokens: int = 4096) -> Plan:
    return Plan(
        model=name,
        architecture="llama",
        mode=mode,
        reason="",
        files=(),
        tensors=(),
        memory_limit_bytes=memory_limit_bytes,
        memory=(),
        context_tokens=context_tokens,
        trained_context_tokens=TRAINED_TOKENS,
        sequences=1,
        ubatch_tokens=1,
        threads=1,
        batch_threads=1,
        kv_type="f16",
        kv_bytes=0,
        gpu_layers=0,
        experts=None,
        dense=None,
        io=IoPlan(1, 1, False, 1, 1),
        extra_buffers=False,
        exact=False,
        estimate=Estimate(1.0, 1.0, 0, 1.0, 0.0, 1.0, Bound.COMPUTE),
    )


@dataclass
class Harness:
    """A running supervisor, and what the test controls of it."""

    supervisor: Supervisor
    clock: Clock
    modes: dict[str, str] = field(default_factory=dict)
    plans: list[LoadRequest] = field(default_factory=list)
    planned: asyncio.Event = field(default_factory=asyncio.Event)  # The second planning has begun.
    events: list[LoadEvent] = field(default_factory=list)

    def one(self, name: str) -> ModelSnapshot:
        [found] = [s for s in self.supervisor.status() if s.name == name]
        return found

    def names(self) -> list[str]:
        return [s.name for s in self.supervisor.status()]

    def lease(self, name: str, tokens: int = 0, keep_alive: float | None = None) -> AbstractAsyncContextManager[Lease]:
        return self.supervisor.lease(name, use=Use(keep_alive, tokens))

    async def load(self, name: str, request: LoadRequest | None = None, **options: Any) -> int:
        async with self.supervisor.lease(name, request, on_event=self.events.append, **options) as lease:
            return lease.worker.pid

    async def advance(self, seconds: float) -> None:
        """Let time pass, and wait until the supervisor has acted on it."""
        await self.settled()
        self.clock.now_seconds += seconds
        await self.settled()

    async def settled(self) -> None:
        """Returns when the supervisor has served all messages so far."""
        done = asyncio.Event()
        self.supervisor._post(done.set)
        await done.wait()

    async def waiting(self, name: str, count: int) -> None:
        """Returns when so many requests wait for the model and nothing is planned for them any more."""
        while True:
            await self.settled()
            model = self.supervisor._lifecycle._models.get(name)
            planning = model is not None and model.pending is not None and model.pending.planning is not None
            if model is not None and len(model.waiters) == count and not planning:
                return

    async def gone(self, name: str) -> None:
        async for snapshots in self.supervisor.watch():
            if name not in [snapshot.name for snapshot in snapshots]:
                return

    async def until(self, name: str, state: ModelState) -> ModelSnapshot:
        async for snapshots in self.supervisor.watch():
            for snapshot in snapshots:
                if snapshot.name == name and snapshot.state is state:
                    return snapshot
        raise AssertionError


@asynccontextmanager
async def running_supervisor(
    folder: Path, *, budget: int = 10, reload_wait: float = 60.0, rules: Rules = RULES
) -> AsyncIterator[Harness]:
    """Models plan as their names begin: "big" needs 6 bytes at least, "small" takes 4 of what is spare, "tight"
    needs 1 more for each 4096 tokens beyond the first; 4096 tokens are the default, TRAINED_TOKENS the most."""
    deadlines = WorkerDeadlines(20.0, 20.0, 20.0, 5.0)
    clock = Clock()

    async def planner(name: str, request: LoadRequest, *, whole: bool) -> Plan:
        harness.plans.append(request)
        if len(harness.plans) > 1:
            harness.planned.set()
        if name == "unknown":
            raise ModelNotFound('no model "unknown"')
        if name == "defect":
            raise ZeroDivisionError
        tokens = max(request.context_tokens or 4096, request.least_context_tokens)
        if tokens > TRAINED_TOKENS:
            raise ContextTooLong(f"at most {TRAINED_TOKENS}")
        least = 6 if name.startswith("big") else 1
        if name.startswith("tight"):
            least += (tokens - 1) // 4096
            if request.memory_limit_bytes < least:
                largest_tokens = request.memory_limit_bytes * 4096
                raise ContextTooLong(f"the largest is {largest_tokens}", least, largest_tokens)
        if request.memory_limit_bytes < least:
            raise BudgetTooSmall(f"{name} needs {least}", least)
        taken = min(request.memory_limit_bytes, 4) if whole and name.startswith("small") else request.memory_limit_bytes
        return make_plan(name, least if name.startswith("tight") else taken, context_tokens=tokens)

    def make_worker(name: str) -> WorkerProcess:
        command = (sys.executable, str(FAKE), harness.modes.get(name, "well"))
        return WorkerProcess(name, folder, deadlines, command=command)

    supervisor = Supervisor(
        planner, make_worker, memory_budget_bytes=budget, reload_wait_seconds=reload_wait, rules=rules, clock=clock
    )
    harness = Harness(supervisor, clock)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(harness.supervisor.run())
        try:
            yield harness
        finally:
            harness.supervisor.end()
    assert not [child for child in psutil.Process().children() if str(FAKE) in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    """Its command; empty where it has ended, as template renderers that other tests left idle were seen to do."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # or it is not collected yet
        return []


async def expect(kind: type[Exception], work: object) -> str:
    with pytest.raises(kind) as caught:
        await work  # type: ignore[misc]
    return str(caught.value)
