"""Many clients, models and failures in any order: the budget is kept, every request ends, nothing is left.

The workers hold no process here, so that thousands of loads take seconds; those with processes are tested beside.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from hypura.v1 import placement_pb2, worker_pb2
from hypura_daemon.errors import ContextTooLong, HypuraError
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.residency.lease import Use
from hypura_daemon.residency.state import ModelState
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.workers.failures import Death
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess, WorkerState
from tests.daemon.residency.harness import Harness, running_supervisor

NAMES = ("small-1", "small-2", "big-1", "big-2", "tight", "m")
KEEP_ALIVES = (None, None, None, 0.0, 5.0, -1.0)
CONTEXTS = (0, 0, 512, 8192, 12000, 30000, 40000)


class Puppet(WorkerProcess):
    """A worker whose start, load and end take a few turns of the event loop; now and then it dies."""

    chance = random.Random(0)

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder, WorkerDeadlines(20, 20, 20, 5))
        self._over = asyncio.Event()

    async def start(self, tasks: asyncio.TaskGroup, environment: Mapping[str, str]) -> None:
        self.state = WorkerState.SERVING

    async def load(self, plan: placement_pb2.Plan) -> AsyncGenerator[worker_pb2.WorkerLoadResponse, None]:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
            yield worker_pb2.WorkerLoadResponse(progress=0.5)
        if self.chance.random() < 0.1:
            self.die()
            raise self.death().error()
        yield worker_pb2.WorkerLoadResponse(loaded=worker_pb2.LoadedModel(bos_text="<s>"))

    def die(self) -> None:
        self.state = WorkerState.ENDED
        self._over.set()

    def death(self) -> Death:
        return Death(self.model, 1, -9, "", ("storm",), self.chance.random() < 0.2)

    async def wait(self) -> Death:
        await self._over.wait()
        return self.death()

    async def stop(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        self.die()


async def client(harness: Harness, name: str, chance: random.Random, ends: asyncio.Event) -> str:
    request = LoadRequest(memory_limit_bytes=chance.choice((0, 3, 7))) if chance.random() < 0.15 else None
    use = Use(chance.choice(KEEP_ALIVES), chance.choice(CONTEXTS))
    try:
        async with harness.supervisor.lease(name, request, pin=chance.random() < 0.02, use=use) as lease:
            assert lease.plan.context_tokens >= use.context_tokens
            if chance.random() < 0.5:
                await ends.wait()
            return "answered"
    except ContextTooLong:
        return "ContextTooLong"
    except HypuraError as error:
        return type(error).__name__


def check(harness: Harness) -> None:
    """What must hold at any moment."""
    holders = harness.supervisor._lifecycle.budget.holders()
    assert (
        sum(holder.memory_limit_bytes for holder in holders if not holder.leaving)
        <= harness.supervisor.memory_budget_bytes
    )
    for model in harness.supervisor._lifecycle._models.values():
        assert (model.worker_task is not None) == (
            model.state in (ModelState.LOADING, ModelState.READY, ModelState.UNLOADING)
        )


@pytest.mark.parametrize("seed", range(25))
async def test_storm(folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = Puppet.chance = random.Random(seed)
    rules = Rules(keep_alive_seconds=30, load_wait_seconds=60, turn_wait_seconds=10, min_residency_seconds=5)
    async with running_supervisor(folder, rules=rules, reload_wait=40) as harness, asyncio.TaskGroup() as tasks:
        puppets: list[Puppet] = []

        def make_worker(name: str) -> WorkerProcess:
            puppets.append(Puppet(name, folder))
            return puppets[-1]

        monkeypatch.setattr(harness.supervisor._lifecycle._worker_tasks, "_make_worker", make_worker)
        clients: list[asyncio.Task[str]] = []
        ends = asyncio.Event()
        for _ in range(400):
            match chance.randrange(12):
                case 0:
                    await harness.advance(chance.choice((0.1, 1, 8, 25)))
                case 1 if clients:
                    chance.choice(clients).cancel()
                case 2 if puppets:
                    chance.choice(puppets[-4:]).die()
                case 3:
                    tasks.create_task(harness.supervisor.retire(chance.choice(NAMES)))
                case 4 if chance.random() < 0.3:
                    tasks.create_task(harness.supervisor.unload(chance.choice(NAMES)))
                case 5 | 6:
                    ends.set()
                    ends = asyncio.Event()
                case _:
                    name = chance.choice(NAMES[: 2 + seed % 5])
                    clients.append(tasks.create_task(client(harness, name, chance, ends)))
            if chance.random() < 0.7:
                await harness.settled()
            check(harness)
        rounds = 0
        while not all(task.done() for task in clients):
            rounds += 1
            assert rounds < 3000, [repr(task) for task in clients if not task.done()]
            ends.set()
            await harness.advance(1)
            check(harness)
        outcomes = {task.result() for task in clients if not task.cancelled()}
        assert "answered" in outcomes
        for name in NAMES:
            await harness.supervisor.unload(name)
        await harness.settled()
        assert harness.supervisor._lifecycle._models == {}
    assert os.listdir(folder) == []  # noqa: PTH208
