"""Requests that need more context than is loaded: reloaded when idle, never shrunk, refused with a number."""

import asyncio
from pathlib import Path

import pytest

from hypura_daemon.errors import ContextTooLong, ServerBusy
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.residency.lease import Use
from hypura_daemon.scheduling.rules import Rules
from tests.daemon.residency.harness import TRAINED_TOKENS, expect, running_supervisor


async def test_less_runs_in_what_is_loaded(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        first = await harness.load("m")
        assert await harness.load("m", use=Use(context_tokens=512)) == first
        assert await harness.load("m", use=Use(context_tokens=4096)) == first
        assert len(harness.plans) == 1


async def test_two_wishes_reload_once(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        pids = [await harness.load("m", use=Use(context_tokens=tokens)) for tokens in (4096, 8192, 4096, 8192, 0)]
        assert pids[1:] == [pids[1]] * 4 != pids[:1] * 4
        plan = harness.one("m").plan
        assert plan is not None and plan.context_tokens == 8192


async def test_all_waiting_requests_get_the_largest_context_in_one_load(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        wishes = (0, 8192, 16384, 4096)
        pids = await asyncio.gather(*(harness.load("m", use=Use(context_tokens=tokens)) for tokens in wishes))
        assert len(set(pids)) == 1
        assert len(harness.plans) == 1


async def test_more_waits_until_the_model_is_idle_and_is_overtaken_for_a_while(folder: Path) -> None:
    async with running_supervisor(folder, rules=Rules(turn_wait_seconds=20)) as harness, asyncio.TaskGroup() as tasks:
        async with harness.lease("m") as lease:
            larger = tasks.create_task(harness.load("m", use=Use(context_tokens=8192)))
            await harness.waiting("m", 1)
            await harness.advance(19)
            assert await harness.load("m") == lease.worker.pid  # It fits, and overtakes.
            await harness.advance(1)
            behind = tasks.create_task(harness.load("m"))  # Now the larger one has waited long enough.
            await harness.waiting("m", 2)
        assert await larger == await behind != lease.worker.pid


async def test_more_than_can_be_waited_for(folder: Path) -> None:
    async with (
        running_supervisor(folder, reload_wait=60) as harness,
        asyncio.TaskGroup() as tasks,
        harness.lease("m") as lease,
    ):
        larger = tasks.create_task(expect(ServerBusy, harness.load("m", use=Use(context_tokens=8192))))
        await harness.waiting("m", 1)
        await harness.advance(60)
        assert "still answers 1 requests after 60 seconds" in await larger
        assert await harness.load("m") == lease.worker.pid


async def test_the_refusals_name_the_largest_and_leave_the_rest_alone(folder: Path) -> None:
    async with running_supervisor(folder, budget=3) as harness:
        first = await harness.load("tight")
        with pytest.raises(ContextTooLong, match=str(TRAINED_TOKENS)):
            await harness.load("tight", use=Use(context_tokens=TRAINED_TOKENS + 1))
        with pytest.raises(ContextTooLong, match="the largest is 12288"):
            await harness.load("tight", use=Use(context_tokens=20000))
        assert await harness.load("tight") == first
        results = await asyncio.gather(
            harness.load("tight", use=Use(context_tokens=12000)),
            harness.load("tight", use=Use(context_tokens=13000)),
            return_exceptions=True,
        )
        assert isinstance(results[0], int) and isinstance(results[1], ContextTooLong)


async def test_a_request_that_accepts_less_gets_the_largest_possible_context(folder: Path) -> None:
    """Only after all memory that others can give has been counted."""
    async with running_supervisor(folder, budget=3) as harness:
        await harness.load("other")
        first = await harness.load("tight", use=Use(context_tokens=20000, enough_tokens=0))
        plan = harness.one("tight").plan
        assert plan is not None and plan.context_tokens == 12288
        assert harness.names() == ["tight"]
        planned = len(harness.plans)
        assert await harness.load("tight", use=Use(context_tokens=16000, enough_tokens=12288)) == first
        assert len(harness.plans) == planned, "how much can be had is known"
        with pytest.raises(ContextTooLong) as caught:
            await harness.load("tight", use=Use(context_tokens=20000, enough_tokens=12289))
        assert caught.value.largest_tokens == 12288
        harness.supervisor.set_current_budget(4)
        await harness.load("tight", use=Use(context_tokens=16000, enough_tokens=12289))
        plan = harness.one("tight").plan
        assert plan is not None and plan.context_tokens == 16000


async def test_what_is_likely_is_loaded_but_not_insisted_on(folder: Path) -> None:
    async with running_supervisor(folder, budget=3) as harness:
        await harness.load("m", use=Use(likely_tokens=16384))
        assert harness.plans[-1].least_context_tokens == 16384
        planned = len(harness.plans)
        await harness.load("m", use=Use(likely_tokens=30000))
        assert len(harness.plans) == planned, "what is loaded is not loaded anew for a guess"
        await harness.load("tight", use=Use(likely_tokens=20000))
        plan = harness.one("tight").plan
        assert plan is not None and plan.context_tokens == 4096


async def test_more_context_waits_for_memory_that_others_hold(folder: Path) -> None:
    async with running_supervisor(folder, budget=3) as harness, asyncio.TaskGroup() as tasks:
        first = await harness.load("tight")
        async with harness.supervisor.lease("other", LoadRequest(memory_limit_bytes=2)):
            larger = tasks.create_task(harness.load("tight", use=Use(context_tokens=12000)))
            await harness.waiting("tight", 1)
            await harness.advance(30)
            assert await harness.load("tight") == first  # Nobody is held up by a load that is not in sight.
        assert await larger != first
        assert harness.names() == ["tight"]


async def test_an_explicit_load_may_shrink_it(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", use=Use(context_tokens=8192))
        await harness.load("m", LoadRequest(context_tokens=2048))
        assert harness.plans[-1].least_context_tokens == 0
        await harness.load("m", LoadRequest(context_tokens=2048))
        await harness.load("m", use=Use(context_tokens=8192))
        assert (harness.plans[-1].context_tokens, harness.plans[-1].least_context_tokens) == (2048, 8192)


async def test_the_larger_context_goes_when_the_model_expires(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", use=Use(keep_alive_seconds=0, context_tokens=8192))
        await harness.gone("m")
        await harness.load("m")
        assert harness.plans[-1].least_context_tokens == 0
