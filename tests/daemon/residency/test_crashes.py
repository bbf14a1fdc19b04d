"""Workers that die: restarted on request, with a pause when they keep dying, with less memory when that ran out."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hypura_daemon.errors import ServerBusy, WorkerDied
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.platforms.platform import Platform, current
from hypura_daemon.residency.state import ModelState
from hypura_daemon.workers import process
from tests.daemon.residency.harness import Harness, running_supervisor


async def crash(harness: Harness, times: int) -> None:
    harness.modes["m"] = "die-load"
    for _ in range(times):
        with pytest.raises(WorkerDied):
            await harness.load("m")
    await harness.until("m", ModelState.FAILED)


async def test_three_deaths_in_a_row_pause_and_a_fourth_pauses_longer(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await crash(harness, 3)
        with pytest.raises(ServerBusy, match=r"not loaded again for 30 seconds.*out of luck.*hypuractl load m"):
            await harness.load("m")
        assert "out of luck" in harness.one("m").error
        await harness.advance(30)
        await crash(harness, 1)
        with pytest.raises(ServerBusy, match="for 60 seconds"):
            await harness.load("m")
        await harness.advance(60)
        harness.modes["m"] = "well"
        assert await harness.load("m")


async def test_two_deaths_or_old_ones_do_not_pause(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        await crash(harness, 2)
        await harness.advance(60)
        await crash(harness, 2)
        harness.modes["m"] = "well"
        assert await harness.load("m")
        await harness.settled()
        await crash_when_ready(harness)
        harness.modes["m"] = "well"
        assert await harness.load("m")  # An answered request began the count anew.


async def crash_when_ready(harness: Harness) -> None:
    os.kill(harness.one("m").worker_pid, signal.SIGKILL)
    await harness.until("m", ModelState.FAILED)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_by_hand_it_is_tried_at_once(folder: Path, by_hand: bool) -> None:
    async with running_supervisor(folder) as harness:
        await crash(harness, 3)
        harness.modes["m"] = "well"
        if by_hand:
            assert await harness.load("m", insist=True)
        else:
            await harness.supervisor.unload("m")
            assert await harness.load("m")


async def test_a_pinned_model_comes_back_by_itself(folder: Path) -> None:
    async with running_supervisor(folder) as harness:
        first = await harness.load("m", pin=True)
        await harness.settled()
        await crash_when_ready(harness)
        await harness.advance(1)
        assert (await harness.until("m", ModelState.READY)).worker_pid != first
        await harness.settled()
        assert harness.one("m").running_requests == 0
        assert harness.one("m").pinned


@dataclass
class Starved:
    """A platform whose count of kills increases with every read."""

    real: Platform
    kills: int = 0

    def oom_kills(self) -> int:
        self.kills += 1
        return self.kills


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starved]:
    platform = Starved(current())
    monkeypatch.setattr(process, "current", lambda: platform)
    yield platform


async def test_out_of_memory_while_loading_is_tried_once_more_with_less(folder: Path, starved: Starved) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["m"] = "die-load"
        with pytest.raises(WorkerDied, match="by the system, whose memory ran out"):
            await harness.load("m", LoadRequest(memory_limit_bytes=8))
        assert [request.memory_limit_bytes for request in harness.plans] == [8, 6]
        assert any("once more with less" in event.stage for event in harness.events)


async def test_out_of_memory_between_requests_makes_the_next_load_smaller(folder: Path, starved: Starved) -> None:
    async with running_supervisor(folder) as harness:
        await harness.load("m", LoadRequest(memory_limit_bytes=8))
        await crash_when_ready(harness)
        await harness.load("m")
        assert harness.one("m").memory_limit_bytes == 6
        await harness.supervisor.unload("m")
        await harness.load("m")
        assert harness.one("m").memory_limit_bytes == 10


async def test_a_kill_by_hand_is_not_taken_for_lack_of_memory(folder: Path) -> None:
    async with running_supervisor(folder) as harness, asyncio.timeout(20):
        await harness.load("m", LoadRequest(memory_limit_bytes=8))
        await crash_when_ready(harness)
        await harness.load("m")
        assert harness.one("m").memory_limit_bytes == 8
