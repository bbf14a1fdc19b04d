"""Workers that do not end when they are killed, as in uninterruptible sleep; and signals that hit no other process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import structlog

from hypura_daemon.errors import ServerBusy, WorkerDied
from hypura_daemon.residency.background import watch_pressure
from hypura_daemon.residency.state import ModelState
from hypura_daemon.system.child import Child
from hypura_daemon.workers import process
from tests.daemon.residency.harness import expect, running_supervisor
from tests.daemon.residency.test_elastic import Tight

READY = "print(0, flush=True)"


@contextmanager
def unkillable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """SIGKILL does not arrive, as at a process in uninterruptible sleep; the pids that it was sent to.

    They are killed at the end, which waits until they have ended.
    """
    killpg, sent = os.killpg, []

    def without_kill(group: int, number: int) -> None:
        if number == signal.SIGKILL:
            sent.append(group)
        else:
            killpg(group, number)

    monkeypatch.setattr(os, "killpg", without_kill)
    monkeypatch.setattr(process, "KILL_SECONDS", 0.2)
    try:
        yield sent
    finally:
        monkeypatch.setattr(os, "killpg", killpg)
        for group in set(sent):
            try:
                killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue
            while _runs(group):
                time.sleep(0.001)


def _runs(pid: int) -> bool:
    """Whether the process has not ended; one that has ended need not have been collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_worker_that_hangs_is_given_up_and_its_memory_counts_until_it_has_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["m"] = "deaf"
        pid = await harness.load("m")
        with structlog.testing.capture_logs() as lines, unkillable(monkeypatch) as killed:
            async with asyncio.timeout(15):
                assert await harness.supervisor.unload("m")
            assert killed[0] == pid and psutil.pid_exists(pid)
            assert [line["pid"] for line in lines if "hangs in the system" in line["event"]] == [pid]
            await harness.settled()
            assert harness.names() == []
            assert harness.supervisor.planned_bytes == 10
            words = await expect(ServerBusy, harness.load("big"))
            assert f"worker {pid} was killed and hangs in the system" in words
        while harness.supervisor.planned_bytes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await harness.load("big")


async def test_a_load_that_needs_the_memory_of_a_hanging_worker_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_supervisor(folder) as harness:
        harness.modes["m"] = "deaf"
        pid = await harness.load("m")
        with unkillable(monkeypatch):
            async with asyncio.timeout(15):
                words = await expect(ServerBusy, harness.load("big"))
            assert f"worker {pid}" in words and "hangs in the system" in words
        while harness.supervisor.planned_bytes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_under_memory_pressure_models_give_what_is_missing_and_not_what_hangs_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug once: what hanging workers hold was counted as used, but not as planned, so models gave it as well."""
    async with running_supervisor(folder) as harness:
        harness.modes["first"] = "elastic"
        with unkillable(monkeypatch):
            async with harness.lease("small") as lease:
                await lease.worker._kill("it made no progress for 900 seconds")
                await harness.until("small", ModelState.FAILED)
            async with harness.lease("first"):
                assert (harness.one("first").memory_limit_bytes, harness.supervisor.planned_bytes) == (6, 10)
                platform = Tight(available_bytes=38)  # 2 less than the reserve of 40.
                watching = asyncio.ensure_future(watch_pressure(harness.supervisor, platform, interval_seconds=3600))  # type: ignore[arg-type]
                while harness.supervisor.planned_bytes == 10:
                    await harness.settled()
                assert (harness.one("first").memory_limit_bytes, harness.supervisor.current_budget_bytes) == (4, 8)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)


async def test_a_request_to_a_hanging_worker_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_supervisor(folder) as harness:
        pid = await harness.load("m")
        async with harness.lease("m") as lease:
            with unkillable(monkeypatch):
                death = await lease.worker._kill("it made no progress for 900 seconds")
                assert isinstance(death.error(), WorkerDied)
                assert "hangs in the system" in str(death.error()) and str(pid) in str(death.error())


async def test_the_daemon_ends_though_a_worker_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with unkillable(monkeypatch) as killed:
        begun = time.monotonic()
        with pytest.raises(AssertionError):  # running_supervisor's, which finds the process that hangs
            async with running_supervisor(folder) as harness:
                harness.modes["m"] = "deaf"
                await harness.load("m")
        assert killed
        assert time.monotonic() - begun < 15


async def started(program: str) -> Child:
    return await Child.started((sys.executable, "-c", program))


async def test_the_group_is_killed_before_the_child_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it is collected, its id may belong to another process."""
    killpg, seen = os.killpg, []

    def watched(group: int, number: int) -> None:
        seen.append((group, psutil.Process(group).status()))
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", watched)
    child = await started("import os; print(os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '60'), flush=True); os._exit(3)")
    left = psutil.Process(int(await child.stdout.readline()))
    assert await child.ended() == 3
    assert seen == [(child.pid, psutil.STATUS_ZOMBIE)]
    psutil.wait_procs([left], timeout=5)
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    child.signal(signal.SIGKILL)
    assert len(seen) == 1, "nobody is signalled once it is collected"
    child.close()


async def test_a_child_tells_how_it_ended() -> None:
    child = await started(f"{READY}; import sys; sys.stdin.read()")
    assert await child.stdout.readline() == b"0\n"
    child.signal(signal.SIGTERM)
    assert await child.ended() == -signal.SIGTERM
    assert await child.ended() == -signal.SIGTERM
    child.close()
