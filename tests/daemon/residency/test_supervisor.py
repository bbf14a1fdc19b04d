"""The lifecycle of models, with real worker processes that hold no model."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hypura.v1 import worker_pb2
from hypura_daemon.errors import (
    BudgetTooSmall,
    ModelFileChanged,
    ModelNotFound,
    ServerBusy,
    ShuttingDown,
    WorkerDied,
    WorkerFailed,
)
from hypura_daemon.planning.plan import LoadRequest, Mode
from hypura_daemon.residency.state import ModelState
from hypura_daemon.residency.worker_tasks import worker_environment
from tests.daemon.residency.harness import FAKE as FAKE
from tests.daemon.residency.harness import expect, house, make_plan


async def test_one_load_serves_all_who_ask(folder: Path) -> None:
    async with house(folder) as home:
        pids = await asyncio.gather(*(home.load("m") for _ in range(20)))
        assert len(set(pids)) == 1
        assert len(home.plans) == 1
        snapshot = home.one("m")
        assert (snapshot.state, snapshot.memory_limit_bytes, snapshot.worker_pid) == (ModelState.READY, 10, pids[0])
        assert {event.stage for event in home.events} >= {"planning", "starting a worker", "loading"}
        assert 0.5 in [event.share for event in home.events]
        assert await home.supervisor.unload("m")
        assert home.supervisor.status() == ()
        assert not await home.supervisor.unload("m")


async def test_two_leases_of_one_worker(folder: Path) -> None:
    async with house(folder) as home, home.supervisor.lease("m") as first, home.supervisor.lease("m") as second:
        assert first.worker is second.worker
        assert home.one("m").running_requests == 2
        assert first.loaded.bos_text == "<s>"


async def test_the_least_recently_used_makes_room(folder: Path) -> None:
    async with house(folder) as home:
        await home.load("small-1")
        await home.load("small-2")
        await home.load("small-1")
        await home.load("small-3")
        assert [s.name for s in home.supervisor.status()] == ["small-1", "small-3"]
        assert any("small-2" in event.stage for event in home.events)


async def test_more_than_the_whole_budget(folder: Path) -> None:
    async with house(folder) as home:
        await home.load("m")
        with pytest.raises(BudgetTooSmall, match="big needs 6"):
            await home.load("big", LoadRequest(memory_limit_bytes=5))
        assert [s.name for s in home.supervisor.status()] == ["m"]
        # What is asked for is a limit: all that there is will do.
        await home.load("other", LoadRequest(memory_limit_bytes=11))
        assert home.one("other").memory_limit_bytes <= home.supervisor.memory_budget_bytes


async def test_other_options_reload_an_idle_model(folder: Path) -> None:
    async with house(folder) as home:
        first = await home.load("m", LoadRequest(memory_limit_bytes=3))
        assert await home.load("m") == first
        assert await home.load("m", LoadRequest(memory_limit_bytes=3)) == first
        assert await home.load("m", LoadRequest(memory_limit_bytes=4)) != first
        assert home.one("m").memory_limit_bytes == 4


async def test_other_options_that_cannot_be_leave_the_model_alone(folder: Path) -> None:
    async with house(folder) as home:
        first = await home.load("big", LoadRequest(memory_limit_bytes=6))
        with pytest.raises(BudgetTooSmall):
            await home.load("big", LoadRequest(memory_limit_bytes=5))
        assert await home.load("big") == first


async def test_other_options_wait_for_running_requests_but_not_for_ever(folder: Path) -> None:
    async with house(folder, reload_wait=60) as home, asyncio.TaskGroup() as tasks:
        async with home.supervisor.lease("m") as lease:
            other = tasks.create_task(expect(ServerBusy, home.load("m", LoadRequest(memory_limit_bytes=4))))
            await home.waiting("m", 1)
            await home.advance(60)
            assert "other options and still answers 1 requests after 60 seconds" in await other
            first = lease.worker.pid
        assert await home.load("m") == first


async def test_requests_behind_a_reload_are_served_by_the_new_worker(folder: Path) -> None:
    async with house(folder) as home, asyncio.TaskGroup() as tasks, AsyncExitStack() as running:
        lease = await running.enter_async_context(home.supervisor.lease("m"))
        reload = tasks.create_task(home.load("m", LoadRequest(memory_limit_bytes=4)))
        await home.planned.wait()
        behind = tasks.create_task(home.load("m"))
        await running.aclose()
        assert await reload == await behind != lease.worker.pid


async def test_death_is_told_and_the_next_request_loads_anew(folder: Path) -> None:
    async with house(folder) as home:
        other = await home.load("other", LoadRequest(memory_limit_bytes=2))
        home.modes["m"] = "die-answer"
        with pytest.raises(WorkerDied, match="SIGSEGV"):
            async with home.supervisor.lease("m", LoadRequest(memory_limit_bytes=3)) as lease:
                async for _ in lease.worker.generate(worker_pb2.WorkerGenerateRequest(prompt="a b c")):
                    pass
        failed = await home.until("m", ModelState.FAILED)
        assert "SIGSEGV" in failed.error
        assert "bad access" in failed.error
        assert (failed.worker_pid, failed.memory_limit_bytes) == (0, 0)
        home.modes["m"] = "well"
        await home.load("m")
        assert (home.one("m").state, home.one("m").error) == (ModelState.READY, "")
        assert home.one("m").memory_limit_bytes == 3
        assert await home.load("other") == other


async def test_death_between_requests_shows_at_once(folder: Path) -> None:
    async with house(folder) as home:
        os.kill(await home.load("m"), signal.SIGKILL)
        assert "SIGKILL" in (await home.until("m", ModelState.FAILED)).error


@pytest.mark.parametrize(
    ("mode", "kind"), [("die-load", WorkerDied), ("fail-load", ModelFileChanged), ("error-start", WorkerFailed)]
)
async def test_a_load_that_fails_fails_all_who_wait_for_it_once(folder: Path, mode: str, kind: type[Exception]) -> None:
    async with house(folder) as home:
        home.modes["m"] = mode
        results = await asyncio.gather(*(home.load("m") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [kind] * 3
        assert home.one("m").state is ModelState.FAILED
        assert len(home.plans) == 1
        home.modes["m"] = "well"
        assert await home.load("m")


async def test_what_planning_raises_leaves_no_trace(folder: Path) -> None:
    async with house(folder) as home:
        with pytest.raises(ModelNotFound):
            await home.load("unknown")
        with pytest.raises(WorkerFailed, match="internal error"):
            await home.load("defect")
        await home.load("m")
        assert [s.name for s in home.supervisor.status()] == ["m"]
        assert list(home.supervisor._lifecycle._models) == ["m"]


async def test_unload_ends_a_load_and_those_who_wait(folder: Path) -> None:
    async with house(folder) as home, asyncio.TaskGroup() as tasks:
        home.modes["m"] = "mute-load"
        waiting = tasks.create_task(expect(WorkerDied, home.load("m")))
        await home.until("m", ModelState.LOADING)
        assert await home.supervisor.unload("m")
        assert "was unloaded before" in await waiting


async def test_a_request_that_is_cancelled_while_waiting_holds_nothing(folder: Path) -> None:
    async with house(folder) as home:
        waiting = [asyncio.ensure_future(home.load("m")) for _ in range(3)]
        await home.until("m", ModelState.LOADING)
        for task in waiting[:2]:
            task.cancel()
        await waiting[2]
        assert home.one("m").running_requests == 0
        assert all(task.cancelled() for task in waiting[:2])


async def test_drain_refuses_the_new_and_waits_for_the_running(folder: Path) -> None:
    async with house(folder) as home, asyncio.TaskGroup() as tasks, home.supervisor.lease("m"):
        draining = tasks.create_task(home.supervisor.drain(30.0))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await home.load("m")
        assert not draining.done()


async def test_drain_ends_after_the_grace(folder: Path) -> None:
    async with house(folder) as home, home.supervisor.lease("m"):
        async with asyncio.timeout(5):
            await home.supervisor.drain(0.1)


def test_streaming_workers_run_without_cuda_graphs() -> None:
    assert worker_environment(make_plan("m", 1, Mode.EXPERT_STREAMING))["GGML_CUDA_DISABLE_GRAPHS"] == "1"
    assert "GGML_CUDA_DISABLE_GRAPHS" not in worker_environment(make_plan("m", 1))
