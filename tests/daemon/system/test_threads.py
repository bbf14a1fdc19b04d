"""Slow work holds up its own kind of work, and no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from hypura_daemon.errors import ServerBusy
from hypura_daemon.system import threads as module
from hypura_daemon.system.threads import Threads

WAIT_SECONDS = 10


class Gate:
    """Work that begins, and ends when it is let through."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        self.inside = self.most = 0

    def work(self) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.release()
        assert self.opened.wait(WAIT_SECONDS)
        self.inside -= 1
        return "done"

    async def has_begun(self, times: int) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self.begun.acquire, timeout=WAIT_SECONDS)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


async def test_results_errors_and_context_come_through() -> None:
    told: ContextVar[str] = ContextVar("told")
    told.set("here")
    threads = Threads("x", 2)
    assert await threads(told.get) == "here"
    with pytest.raises(ZeroDivisionError):
        await threads(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads(next, iter(()))


async def test_no_more_run_than_there_are_threads_and_no_more_wait_than_may(gate: Gate) -> None:
    threads = Threads("tests", 2, waiting=3)
    running = [asyncio.ensure_future(threads(gate.work)) for _ in range(5)]
    await gate.has_begun(2)
    with pytest.raises(ServerBusy, match="3 requests wait for tests already"):
        await threads(gate.work)
    running.pop().cancel()  # One that waits: its place is free again.
    await asyncio.sleep(0)
    running.append(asyncio.ensure_future(threads(gate.work)))
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(*running) == ["done"] * 5
    assert gate.most == 2


async def test_one_key_does_not_take_the_threads_of_all(gate: Gate) -> None:
    """Requests keep coming for a model on a drive that hangs."""
    threads = Threads("x", 3, per_key=2)
    held = [asyncio.ensure_future(threads(gate.work, key="hangs")) for _ in range(5)]
    await gate.has_begun(2)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await threads(int, "7", key="other") == 7
    gate.opened.set()
    await asyncio.gather(*held)


async def test_slow_and_unknown_keys_leave_a_thread_to_the_quick(gate: Gate) -> None:
    threads = Threads("x", 3, reserved=1)
    await threads(int, key="quick")
    held = [asyncio.ensure_future(threads(gate.work, key=f"slow {number}")) for number in range(6)]
    await gate.has_begun(2)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await threads(int, "7", key="quick") == 7
    assert gate.most == 2
    gate.opened.set()
    await asyncio.gather(*held)


async def test_a_key_that_has_become_slow_gives_its_thread_up(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 0.01)
    threads = Threads("x", 2, reserved=1)
    await threads(int, key="a")
    await threads(time.sleep, 0.02, key="a")
    held = [asyncio.ensure_future(threads(gate.work, key=key)) for key in ("a", "b")]
    await gate.has_begun(1)
    await asyncio.sleep(0.05)
    assert gate.inside == 1, "both threads were taken by slow keys"
    gate.opened.set()
    await asyncio.gather(*held)


async def test_idle_threads_end_and_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads = Threads("ending", 2)
    for _ in range(3):
        assert await threads(int, "7") == 7
        for thread in threading.enumerate():
            if thread.name == "hypura ending":
                await asyncio.to_thread(thread.join, WAIT_SECONDS)
                assert not thread.is_alive()


def test_work_that_hangs_does_not_keep_the_process() -> None:
    """asyncio.run waits for the default executor's threads, for ever if need be."""
    program = (
        "import asyncio, threading\n"
        "from hypura_daemon.system.threads import Threads\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(Threads('x', 1)(threading.Event().wait))\n"
        "    await asyncio.sleep(0.05)\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
