"""Several models in one budget: which leave, which wait, and that no request waits for ever."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hypura_daemon.errors import ServerBusy
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.residency import admission
from hypura_daemon.residency.lease import Use
from hypura_daemon.residency.state import ModelState
from hypura_daemon.scheduling.rules import Rules
from tests.daemon.residency.harness import expect, running_supervisor

RULES = Rules(turn_wait_seconds=20, min_residency_seconds=10, load_wait_seconds=120)


async def test_the_first_to_expire_makes_room(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("small-1", use=Use(keep_alive_seconds=100))
        await harness.load("small-2", use=Use(keep_alive_seconds=50))
        await harness.load("small-3")
        assert harness.names() == ["small-1", "small-3"]


async def test_a_load_that_only_pinned_models_could_make_room_for_is_refused_at_once(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("pinned", LoadRequest(memory_limit_bytes=5), pin=True)
        with pytest.raises(ServerBusy) as caught:
            await harness.load("big")
        assert '"pinned" 0.00 GB (pinned)' in str(caught.value)
        assert "big needs 6" not in str(caught.value)  # One reason, not two.
        assert harness.one("pinned").state is ModelState.READY


async def test_the_busy_are_waited_for(folder: Path) -> None:
    async with running_supervisor(folder, rules=RULES) as harness, asyncio.TaskGroup() as tasks:
        async with harness.lease("m"):
            big = tasks.create_task(harness.load("big"))
            exact = tasks.create_task(harness.load("exact", LoadRequest(memory_limit_bytes=2)))
            await harness.waiting("big", 1)
            await harness.waiting("exact", 1)
            assert any("waiting for" in event.stage for event in harness.events)
        assert await big
        assert await exact


async def test_a_wait_that_lasts_too_long_names_the_models_that_hold_memory(folder: Path) -> None:
    async with running_supervisor(folder, rules=RULES) as harness, asyncio.TaskGroup() as tasks:
        async with harness.lease("m"):
            waiting = tasks.create_task(expect(ServerBusy, harness.load("big")))
            await harness.waiting("big", 1)
            await harness.advance(119)
            assert not waiting.done()
            await harness.advance(1)
            assert '"m" 0.00 GB (answers 1 request)' in await waiting
        await harness.load("m")


async def test_a_flow_of_requests_lets_another_model_have_its_turn(folder: Path) -> None:
    async with running_supervisor(folder, rules=RULES) as harness, asyncio.TaskGroup() as tasks:
        async with AsyncExitStack() as running:
            first = await running.enter_async_context(harness.lease("big-1"))
            other = tasks.create_task(harness.load("big-2"))
            await harness.waiting("big-2", 1)
            await harness.advance(19)
            assert await harness.load("big-1") == first.worker.pid
            await harness.advance(1)
            late = tasks.create_task(harness.load("big-1"))
            await harness.waiting("big-1", 1)
        assert await other
        assert await late != first.worker.pid


async def test_a_model_that_was_just_loaded_keeps_its_memory_for_a_while(folder: Path) -> None:
    """Otherwise two models with steady requests would be loaded for every single request."""
    async with (
        running_supervisor(folder, rules=RULES) as harness,
        asyncio.TaskGroup() as tasks,
        AsyncExitStack() as running,
    ):
        first = AsyncExitStack()
        await first.enter_async_context(harness.lease("big-1"))
        second = tasks.create_task(running.enter_async_context(harness.lease("big-2")))
        await harness.waiting("big-2", 1)
        third = tasks.create_task(harness.load("big-3"))
        await harness.waiting("big-3", 1)
        await harness.advance(25)
        await first.aclose()
        lease = await second
        assert await harness.load("big-2") == lease.worker.pid  # big-3 waited for 25 seconds, big-2 was just loaded.
        await harness.advance(10)
        late = tasks.create_task(harness.load("big-2"))
        await harness.waiting("big-2", 1)
        await running.aclose()
        assert await third
        assert await late


async def test_what_fits_beside_overtakes_only_for_a_while(folder: Path) -> None:
    async with (
        running_supervisor(folder, rules=RULES) as harness,
        asyncio.TaskGroup() as tasks,
        AsyncExitStack() as running,
    ):
        await running.enter_async_context(harness.supervisor.lease("busy", LoadRequest(memory_limit_bytes=5)))
        big = tasks.create_task(harness.load("big"))
        await harness.waiting("big", 1)
        assert await harness.load("beside", LoadRequest(memory_limit_bytes=3))
        assert await harness.supervisor.unload("beside")
        await harness.advance(20)
        late = tasks.create_task(harness.load("beside", LoadRequest(memory_limit_bytes=3)))
        await harness.waiting("beside", 1)
        assert harness.names() == ["big", "busy"]
        await running.aclose()
        assert await big
        assert await late


async def test_models_asked_for_at_once_share_what_is_there(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        assert all(await asyncio.gather(harness.load("small-1"), harness.load("small-2")))
        assert harness.names() == ["small-1", "small-2"]


async def test_a_queue_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITERS", 2)
    monkeypatch.setattr(admission, "MAX_LEASES", 1)
    async with running_supervisor(folder) as harness, asyncio.TaskGroup() as tasks:
        async with harness.lease("m"):
            queued = [tasks.create_task(harness.load("m")) for _ in range(2)]
            await harness.waiting("m", 2)
            with pytest.raises(ServerBusy, match=r"server busy, please try again\.  maximum pending requests exceeded"):
                await harness.load("m")
            await harness.advance(1000)
            assert harness.one("m").running_requests == 1  # They wait for a place, however long that takes.
        assert await asyncio.gather(*queued)
