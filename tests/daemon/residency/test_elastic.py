"""Models that give memory to each other without being reloaded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.errors import ServerBusy
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.platforms.platform import Memory, Pressure
from hypura_daemon.residency.background import watch_pressure
from hypura_daemon.residency.state import ModelState
from hypura_daemon.scheduling.rules import Rules
from tests.daemon.residency.harness import Harness, expect, running_supervisor


async def held(harness: Harness, **wanted: int) -> None:
    """Returns when the models hold so much."""
    while {s.name: s.memory_limit_bytes for s in harness.supervisor.status()} != wanted:
        await harness.settled()


async def test_a_busy_model_gives_half_of_its_cache_and_takes_it_again(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = harness.modes["second"] = "elastic"
        async with harness.lease("first") as lease:
            pid = lease.worker.pid
            await held(harness, first=10)
            await harness.load("second")
            await held(harness, first=6, second=4)
            assert any("taking memory from first" in event.stage for event in harness.events)
            await harness.supervisor.unload("second")
            await held(harness, first=10)
            assert harness.one("first").worker_pid == pid, "it was never reloaded"


async def test_a_model_that_needs_more_than_half_gets_what_can_be_given(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        async with harness.lease("first"):
            await harness.load("big")
            await held(harness, first=4, big=6)


async def test_pinned_models_shrink_too(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        await harness.load("first", pin=True)
        await harness.load("second", LoadRequest(memory_limit_bytes=7))
        await held(harness, first=3, second=7)


async def test_idle_models_leave_before_busy_ones_shrink(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["busy"] = "elastic"
        async with harness.lease("busy", keep_alive=None):
            await held(harness, busy=10)
            await harness.load("small-1")
            before = harness.one("busy").memory_limit_bytes
            await harness.load("small-2")
            assert harness.names() == ["busy", "small-2"]
            assert harness.one("busy").memory_limit_bytes == before


async def test_what_was_asked_for_stays_the_limit(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        await harness.load("first", LoadRequest(memory_limit_bytes=5))
        await harness.settled()
        await held(harness, first=5)


async def test_a_worker_that_does_not_give_is_not_asked_again(folder: Path) -> None:
    async with running_supervisor(folder, rules=Rules(load_wait_seconds=50)) as harness, asyncio.TaskGroup() as tasks:
        harness.modes["first"] = "stubborn"
        async with harness.lease("first"):
            late = tasks.create_task(expect(ServerBusy, harness.load("second")))
            await harness.waiting("second", 1)
            await harness.advance(50)
            assert "first" in await late
            assert harness.one("first").state is ModelState.READY


async def test_a_smaller_budget_shrinks_caches_before_idle_models_leave(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        await harness.load("small")
        await harness.load("first", LoadRequest(memory_limit_bytes=6))
        await held(harness, first=6, small=4)
        harness.supervisor.set_current_budget(8)
        await held(harness, first=4, small=4)
        harness.supervisor.set_current_budget(5)
        await held(harness, first=5)
        harness.supervisor.set_current_budget(10)
        await held(harness, first=6)
        assert harness.supervisor.memory_budget_bytes == 10


@dataclass
class Tight:
    """A platform with so much memory left."""

    available_bytes: int = 1000

    def memory(self) -> Memory:
        return Memory(1000, 1000, self.available_bytes)

    def pressure(self) -> Pressure:
        return Pressure.CALM


async def test_memory_pressure_from_outside_shrinks_caches_and_lets_them_grow_again(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        platform = Tight()
        watching = asyncio.ensure_future(watch_pressure(harness.supervisor, platform, interval_seconds=0.01))  # type: ignore[arg-type]
        async with harness.lease("first"):
            await held(harness, first=10)
            platform.available_bytes = 35  # 5 less than the reserve of 40.
            while harness.one("first").memory_limit_bytes == 10:
                await harness.settled()
            platform.available_bytes = 60  # Neither short nor ample.
            await harness.settled()
            assert harness.one("first").memory_limit_bytes <= 5
            platform.available_bytes = 1000
            await held(harness, first=10)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
