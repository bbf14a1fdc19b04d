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
from tests.daemon.residency.harness import expect, make_plan, running_supervisor


async def test_one_load_serves_all_requests(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        pids = await asyncio.gather(*(harness.load("m") for _ in range(20)))
        assert len(set(pids)) == 1
        assert len(harness.plans) == 1
        snapshot = harness.one("m")
        assert (snapshot.state, snapshot.memory_limit_bytes, snapshot.worker_pid) == (ModelState.READY, 10, pids[0])
        assert {event.stage for event in harness.events} >= {"planning", "starting a worker", "loading"}
        assert 0.5 in [event.share for event in harness.events]
        assert await harness.supervisor.unload("m")
        assert harness.supervisor.status() == ()
        assert not await harness.supervisor.unload("m")


async def test_two_leases_of_one_worker(folder: Path) -> None:
    async with (
        running_supervisor(folder) as harness,
        harness.supervisor.lease("m") as first,
        harness.supervisor.lease("m") as second,
    ):
        assert first.worker is second.worker
        assert harness.one("m").running_requests == 2
        assert first.loaded.bos_text == "<s>"


async def test_the_least_recently_used_makes_room(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("small-1")
        await harness.load("small-2")
        await harness.load("small-1")
        await harness.load("small-3")
        assert [s.name for s in harness.supervisor.status()] == ["small-1", "small-3"]
        assert any("small-2" in event.stage for event in harness.events)


async def test_more_than_the_whole_budget(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m")
        with pytest.raises(BudgetTooSmall, match="big needs 6"):
            await harness.load("big", LoadRequest(memory_limit_bytes=5))
        assert [s.name for s in harness.supervisor.status()] == ["m"]
        # What is asked for is a limit: all that there is will do.
        await harness.load("other", LoadRequest(memory_limit_bytes=11))
        assert harness.one("other").memory_limit_bytes <= harness.supervisor.memory_budget_bytes


async def test_other_options_reload_an_idle_model(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        first = await harness.load("m", LoadRequest(memory_limit_bytes=3))
        assert await harness.load("m") == first
        assert await harness.load("m", LoadRequest(memory_limit_bytes=3)) == first
        assert await harness.load("m", LoadRequest(memory_limit_bytes=4)) != first
        assert harness.one("m").memory_limit_bytes == 4


async def test_other_options_that_cannot_be_leave_the_model_alone(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        first = await harness.load("big", LoadRequest(memory_limit_bytes=6))
        with pytest.raises(BudgetTooSmall):
            await harness.load("big", LoadRequest(memory_limit_bytes=5))
        assert await harness.load("big") == first


async def test_other_options_wait_for_running_requests_but_not_for_ever(folder: Path) -> None:
    async with running_supervisor(folder, reload_wait=60) as harness, asyncio.TaskGroup() as tasks:
        async with harness.supervisor.lease("m") as lease:
            other = tasks.create_task(expect(ServerBusy, harness.load("m", LoadRequest(memory_limit_bytes=4))))
            await harness.waiting("m", 1)
            await harness.advance(60)
            assert "other options and still answers 1 requests after 60 seconds" in await other
            first = lease.worker.pid
        assert await harness.load("m") == first


async def test_requests_behind_a_reload_are_served_by_the_new_worker(folder: Path) -> None:
    async with running_supervisor(folder) as harness, asyncio.TaskGroup() as tasks, AsyncExitStack() as running:
        lease = await running.enter_async_context(harness.supervisor.lease("m"))
        reload = tasks.create_task(harness.load("m", LoadRequest(memory_limit_bytes=4)))
        await harness.planned.wait()
        behind = tasks.create_task(harness.load("m"))
        await running.aclose()
        assert await reload == await behind != lease.worker.pid


async def test_a_death_is_reported_and_the_next_request_loads_the_model_again(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        other = await harness.load("other", LoadRequest(memory_limit_bytes=2))
        harness.modes["m"] = "die-answer"
        with pytest.raises(WorkerDied, match="SIGSEGV"):
            async with harness.supervisor.lease("m", LoadRequest(memory_limit_bytes=3)) as lease:
                async for _ in lease.worker.generate(worker_pb2.WorkerGenerateRequest(prompt="a b c")):
                    pass
        failed = await harness.until("m", ModelState.FAILED)
        assert "SIGSEGV" in failed.error
        assert "bad access" in failed.error
        assert (failed.worker_pid, failed.memory_limit_bytes) == (0, 0)
        harness.modes["m"] = "well"
        await harness.load("m")
        assert (harness.one("m").state, harness.one("m").error) == (ModelState.READY, "")
        assert harness.one("m").memory_limit_bytes == 3
        assert await harness.load("other") == other


async def test_death_between_requests_shows_at_once(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        os.kill(await harness.load("m"), signal.SIGKILL)
        assert "SIGKILL" in (await harness.until("m", ModelState.FAILED)).error


@pytest.mark.parametrize(
    ("mode", "kind"), [("die-load", WorkerDied), ("fail-load", ModelFileChanged), ("error-start", WorkerFailed)]
)
async def test_a_load_that_fails_fails_all_its_waiting_requests_once(
    folder: Path, mode: str, kind: type[Exception]
) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["m"] = mode
        results = await asyncio.gather(*(harness.load("m") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [kind] * 3
        assert harness.one("m").state is ModelState.FAILED
        assert len(harness.plans) == 1
        harness.modes["m"] = "well"
        assert await harness.load("m")


async def test_an_error_of_planning_leaves_no_trace(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        with pytest.raises(ModelNotFound):
            await harness.load("unknown")
        with pytest.raises(WorkerFailed, match="internal error"):
            await harness.load("defect")
        await harness.load("m")
        assert [s.name for s in harness.supervisor.status()] == ["m"]
        assert list(harness.supervisor._lifecycle._models) == ["m"]


async def test_unload_ends_a_load_and_fails_its_waiting_requests(folder: Path) -> None:
    async with running_supervisor(folder) as harness, asyncio.TaskGroup() as tasks:
        harness.modes["m"] = "mute-load"
        waiting = tasks.create_task(expect(WorkerDied, harness.load("m")))
        await harness.until("m", ModelState.LOADING)
        assert await harness.supervisor.unload("m")
        assert "was unloaded before" in await waiting


async def test_a_request_that_is_cancelled_while_waiting_holds_nothing(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        waiting = [asyncio.ensure_future(harness.load("m")) for _ in range(3)]
        await harness.until("m", ModelState.LOADING)
        for task in waiting[:2]:
            task.cancel()
        await waiting[2]
        assert harness.one("m").running_requests == 0
        assert all(task.cancelled() for task in waiting[:2])


async def test_drain_refuses_the_new_and_waits_for_the_running(folder: Path) -> None:
    async with running_supervisor(folder) as harness, asyncio.TaskGroup() as tasks, harness.supervisor.lease("m"):
        draining = tasks.create_task(harness.supervisor.drain(30.0))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await harness.load("m")
        assert not draining.done()


async def test_drain_ends_after_the_grace(folder: Path) -> None:
    async with running_supervisor(folder) as harness, harness.supervisor.lease("m"):
        async with asyncio.timeout(5):
            await harness.supervisor.drain(0.1)


def test_streaming_workers_run_without_cuda_graphs() -> None:
    assert worker_environment(make_plan("m", 1, Mode.EXPERT_STREAMING))["GGML_CUDA_DISABLE_GRAPHS"] == "1"
    assert "GGML_CUDA_DISABLE_GRAPHS" not in worker_environment(make_plan("m", 1))
