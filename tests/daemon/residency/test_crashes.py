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
from tests.daemon.residency.harness import House, house


async def crash(home: House, times: int) -> None:
    home.modes["m"] = "die-load"
    for _ in range(times):
        with pytest.raises(WorkerDied):
            await home.load("m")
    await home.until("m", ModelState.FAILED)


async def test_three_deaths_in_a_row_pause_and_a_fourth_pauses_longer(folder: Path) -> None:
    async with house(folder) as home:
        await crash(home, 3)
        with pytest.raises(ServerBusy, match=r"not loaded again for 30 seconds.*out of luck.*hypuractl load m"):
            await home.load("m")
        assert "out of luck" in home.one("m").error
        await home.advance(30)
        await crash(home, 1)
        with pytest.raises(ServerBusy, match="for 60 seconds"):
            await home.load("m")
        await home.advance(60)
        home.modes["m"] = "well"
        assert await home.load("m")


async def test_two_deaths_or_old_ones_do_not_pause(folder: Path) -> None:
    async with house(folder) as home:
        await crash(home, 2)
        await home.advance(60)
        await crash(home, 2)
        home.modes["m"] = "well"
        assert await home.load("m")
        await home.settled()
        await crash_when_ready(home)
        home.modes["m"] = "well"
        assert await home.load("m")  # An answered request began the count anew.


async def crash_when_ready(home: House) -> None:
    os.kill(home.one("m").worker_pid, signal.SIGKILL)
    await home.until("m", ModelState.FAILED)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_by_hand_it_is_tried_at_once(folder: Path, by_hand: bool) -> None:
    async with house(folder) as home:
        await crash(home, 3)
        home.modes["m"] = "well"
        if by_hand:
            assert await home.load("m", insist=True)
        else:
            await home.supervisor.unload("m")
            assert await home.load("m")


async def test_a_pinned_model_comes_back_by_itself(folder: Path) -> None:
    async with house(folder) as home:
        first = await home.load("m", pin=True)
        await home.settled()
        await crash_when_ready(home)
        await home.advance(1)
        assert (await home.until("m", ModelState.READY)).worker_pid != first
        await home.settled()
        assert home.one("m").running_requests == 0
        assert home.one("m").pinned


@dataclass
class Starved:
    """A platform whose count of kills goes up whenever it is looked at."""

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
    async with house(folder) as home:
        home.modes["m"] = "die-load"
        with pytest.raises(WorkerDied, match="by the system, whose memory ran out"):
            await home.load("m", LoadRequest(memory_limit_bytes=8))
        assert [request.memory_limit_bytes for request in home.plans] == [8, 6]
        assert any("once more with less" in event.stage for event in home.events)


async def test_out_of_memory_between_requests_makes_the_next_load_smaller(folder: Path, starved: Starved) -> None:
    async with house(folder) as home:
        await home.load("m", LoadRequest(memory_limit_bytes=8))
        await crash_when_ready(home)
        await home.load("m")
        assert home.one("m").memory_limit_bytes == 6
        await home.supervisor.unload("m")
        await home.load("m")
        assert home.one("m").memory_limit_bytes == 10


async def test_a_kill_by_hand_is_not_taken_for_lack_of_memory(folder: Path) -> None:
    async with house(folder) as home, asyncio.timeout(20):
        await home.load("m", LoadRequest(memory_limit_bytes=8))
        await crash_when_ready(home)
        await home.load("m")
        assert home.one("m").memory_limit_bytes == 8
