"""Clients that leave while their model is planned or loaded: the load goes on, and the next client finds it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hypura_daemon.errors import BudgetTooSmall, ServerBusy
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency import pending_loads
from hypura_daemon.residency.budget import MemoryBudget
from hypura_daemon.residency.state import ModelState, SupervisedModel
from hypura_daemon.scheduling.rules import Rules
from tests.daemon.residency.harness import Harness, expect, running_supervisor


class Gate:
    """Planning that waits until the test lets it continue."""

    def __init__(self, harness: Harness) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self._planner = harness.supervisor._lifecycle._pending_loads._planner
        harness.supervisor._lifecycle._pending_loads._planner = self

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan:
        self.begun.set()
        await self.go.wait()
        return await self._planner(name, request, whole=whole)


async def left(harness: Harness, gate: Gate, name: str, keep_alive: float | None = None) -> None:
    """A client that leaves while its load is planned."""

    async def ask() -> None:
        async with harness.lease(name, keep_alive=keep_alive):
            raise AssertionError("nothing can be loaded yet")

    asking = asyncio.ensure_future(ask())
    await gate.begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await harness.settled()


async def test_a_load_that_is_planned_goes_on_when_its_client_leaves(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        gate = Gate(harness)
        await left(harness, gate, "m", keep_alive=77.0)
        await left(harness, gate, "m", keep_alive=77.0)
        assert harness.one("m").state is ModelState.LOADING
        gate.go.set()
        snapshot = await harness.until("m", ModelState.READY)
        await harness.settled()
        assert harness.one("m").keep_alive_seconds == 77.0
        assert harness.one("m").running_requests == 0
        assert await harness.load("m") == snapshot.worker_pid
        assert len(harness.plans) == 1


async def test_a_load_is_dropped_when_its_client_left_and_wanted_no_keep_alive(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        gate = Gate(harness)
        await left(harness, gate, "m", keep_alive=0.0)
        assert harness.names() == []
        gate.go.set()
        await harness.load("m")


async def test_a_client_that_left_does_not_wait_for_memory_of_others(folder: Path) -> None:
    async with running_supervisor(folder) as harness, harness.lease("m"):
        asking = asyncio.ensure_future(harness.load("big"))
        await harness.waiting("big", 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await harness.settled()
        assert harness.names() == ["m"]


async def test_a_slow_plan_does_not_count_as_waiting_for_memory(folder: Path) -> None:
    """A bug once: "waited 120 seconds for its turn, and the budget of 2.00 GB is held by nobody"."""
    async with running_supervisor(folder, rules=Rules(load_wait_seconds=120.0)) as harness:
        gate = Gate(harness)
        asking = asyncio.ensure_future(harness.load("m"))
        await gate.begun.wait()
        await harness.advance(1000.0)
        assert not asking.done()
        gate.go.set()
        assert await asking


def test_a_refusal_does_not_say_that_memory_is_held_where_no_model_holds_any() -> None:
    words = str(MemoryBudget(10, {}).waited_too_long_error(SupervisedModel("m", 300.0), 120.0))
    assert "just become free" in words and "is held by" not in words


async def test_a_plan_that_never_ends_is_reported_as_that(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_loads, "PLAN_SECONDS", 0.05)
    async with running_supervisor(folder) as harness:
        Gate(harness)
        words = await expect(ServerBusy, harness.load("m"))
        assert "is not planned after" in words and "drive" in words


async def test_a_refusal_names_the_models_that_hold_the_memory(folder: Path) -> None:
    async with running_supervisor(folder, rules=Rules(load_wait_seconds=30.0)) as harness:
        harness.supervisor.set_current_budget(4, "firefox (pid 7) 3.10 GB")
        await expect(BudgetTooSmall, harness.load("big"))
        harness.supervisor.set_current_budget(10)
        async with harness.lease("m"):
            waiting = asyncio.ensure_future(harness.load("big"))
            await harness.waiting("big", 1)
            harness.supervisor.set_current_budget(9, "firefox (pid 7) 3.10 GB")
            await harness.advance(31.0)
            words = await expect(ServerBusy, waiting)
            assert '"m" 0.00 GB (answers 1 request)' in words and "firefox (pid 7) 3.10 GB" in words
