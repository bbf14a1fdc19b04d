"""How long models stay after their last request: for the time that the last request with a keep-alive named."""

import asyncio
import math
import time
from pathlib import Path

import pytest

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.residency.lease import Use
from hypura_daemon.residency.state import ModelState
from hypura_daemon.scheduling.rules import Rules
from tests.daemon.residency.harness import running_supervisor


async def test_the_timer_starts_when_the_last_request_ends(folder: Path) -> None:
    async with running_supervisor(folder, rules=Rules(keep_alive_seconds=60)) as harness:
        async with harness.lease("m"):
            async with harness.lease("m"):
                await harness.advance(50)
            await harness.advance(50)
            assert harness.one("m").expires_at_seconds is None
        await harness.advance(59)
        expires_seconds = harness.one("m").expires_at_seconds
        assert expires_seconds is not None and abs(expires_seconds - time.time() - 1) < 1
        await harness.advance(2)
        await harness.gone("m")


async def test_a_request_without_a_keep_alive_keeps_the_one_that_is_set(folder: Path) -> None:
    async with running_supervisor(folder, rules=Rules(keep_alive_seconds=60)) as harness:
        await harness.load("m", use=Use(keep_alive_seconds=600))
        await harness.load("m")
        await harness.advance(599)
        assert harness.one("m").state is ModelState.READY
        await harness.load("m", use=Use(keep_alive_seconds=1))
        await harness.advance(1)
        await harness.gone("m")
        await harness.load("m")  # The default holds again.
        await harness.advance(59)
        assert harness.one("m").state is ModelState.READY


@pytest.mark.parametrize("seconds", [-1, math.inf, 1e300])
async def test_for_ever(folder: Path, seconds: float) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", use=Use(keep_alive_seconds=seconds))
        await harness.advance(1e9)
        assert harness.one("m").state is ModelState.READY
        assert harness.one("m").expires_at_seconds is None


async def test_a_pinned_model_does_not_expire(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", pin=True)
        await harness.load("m", use=Use(keep_alive_seconds=0))
        await harness.advance(1e6)
        assert harness.one("m").state is ModelState.READY


async def test_0_unloads_when_the_last_of_those_that_run_has_ended(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        async with harness.lease("m"):
            await harness.load("m", use=Use(keep_alive_seconds=0))
            await harness.settled()
            assert harness.one("m").state is ModelState.READY
        await harness.gone("m")


async def test_the_options_of_a_load_outlive_its_keep_alive(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", LoadRequest(memory_limit_bytes=3), use=Use(keep_alive_seconds=1))
        await harness.advance(1)
        await harness.gone("m")
        await harness.load("m")
        assert harness.one("m").memory_limit_bytes == 3


async def test_retiring_an_idle_model_ends_it(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        assert not await harness.supervisor.retire("m")
        await harness.load("m", pin=True)
        assert await harness.supervisor.retire("m")
        assert harness.names() == []


async def test_retiring_a_busy_model_fails_no_request(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        async with harness.lease("m") as lease:
            assert await harness.supervisor.retire("m")
            assert harness.one("m").state is ModelState.READY
            assert lease.worker.pid == await harness.load("m")
        await harness.gone("m")


async def test_retiring_a_loading_model_serves_the_waiting_requests(folder: Path) -> None:
    async with running_supervisor(folder) as harness, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(harness.load("m"))
        await harness.until("m", ModelState.LOADING)
        while harness.one("m").worker_pid == 0:
            await harness.settled()
        assert await harness.supervisor.retire("m")
        assert await waiting
        await harness.gone("m")


def test_an_invalid_keep_alive_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="NaN"):
        Use(keep_alive_seconds=math.nan)
    with pytest.raises(InvalidRequest, match="-1 tokens"):
        Use(context_tokens=-1)
