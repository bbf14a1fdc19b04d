"""A worker's process, with real processes: its start, calls, end, and the explanation of every death."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from hypura.v1 import placement_pb2, worker_pb2
from hypura_daemon.errors import HypuraError, ModelFileChanged, PromptTooLong, WorkerDied, WorkerFailed
from hypura_daemon.workers.process import MAX_MESSAGE_BYTES, WorkerDeadlines, WorkerProcess, WorkerState
from tests.daemon.residency.harness import FAKE

DEADLINES = WorkerDeadlines(20.0, 20.0, 20.0, 5.0)
QUICK_HEARTBEAT = WorkerDeadlines(20.0, 0.5, 0.5, 0.5, heartbeat_seconds=0.1, deaf_seconds=0.4)
IMPATIENT = WorkerDeadlines(1.5, 0.5, 0.5, 0.5)


@asynccontextmanager
async def running(folder: Path, mode: str, deadlines: WorkerDeadlines = DEADLINES) -> AsyncIterator[WorkerProcess]:
    worker = WorkerProcess("m:latest", folder, deadlines, command=(sys.executable, str(FAKE), mode))
    async with asyncio.TaskGroup() as tasks:
        try:
            await worker.start(tasks, os.environ)
            yield worker
        finally:
            await worker.stop()
            assert worker.state is WorkerState.ENDED
            assert worker.pid == 0 or not psutil.pid_exists(worker.pid)
            assert os.listdir(folder) == []  # noqa: PTH208


async def load(worker: WorkerProcess) -> list[worker_pb2.WorkerLoadResponse]:
    return [message async for message in worker.load(placement_pb2.Plan())]


async def answer(worker: WorkerProcess, prompt: str) -> list[str]:
    request = worker_pb2.WorkerGenerateRequest(prompt=prompt)
    return [message.chunk.text async for message in worker.generate(request) if message.HasField("chunk")]


@pytest.mark.parametrize("mode", ["well", "noisy"])
async def test_loads_and_answers(folder: Path, mode: str) -> None:
    async with running(folder, mode) as worker:
        assert worker.state is WorkerState.SERVING
        events = await load(worker)
        assert events[0].progress == 0.5
        assert events[-1].loaded.bos_text == "<s>"
        assert await answer(worker, "a b c") == ["a", "b", "c"]
        embedded = await worker.embed(worker_pb2.WorkerEmbedRequest(texts=["four"]))
        assert list(embedded.embeddings[0].values) == [4.0]
        tokens = await worker.tokenize(worker_pb2.WorkerTokenizeRequest(text="AB"))
        assert list(tokens.token_ids) == [65, 66]
        assert (await worker.statistics()).active_requests == 0
    death = await worker.wait()
    assert (death.exit_status, death.cause) == (0, "it was unloaded")


async def test_vectors_may_be_larger_than_a_message(folder: Path) -> None:
    """A bug once: 4,096 texts of 4,096 dimensions failed after all of them were computed."""
    async with running(folder, "well") as worker:
        await load(worker)
        texts = ["wide"] * 1100
        embedded = await worker.embed(worker_pb2.WorkerEmbedRequest(texts=texts))
        assert len(embedded.embeddings) == embedded.prompt_tokens == len(texts)
        assert embedded.ByteSize() > MAX_MESSAGE_BYTES


async def test_the_workers_own_errors_keep_their_class(folder: Path) -> None:
    async with running(folder, "well") as worker:
        with pytest.raises(PromptTooLong, match="9 tokens"):
            await answer(worker, "too long")
        assert await answer(worker, "fine") == ["fine"]
    async with running(folder, "fail-load") as worker:
        with pytest.raises(ModelFileChanged, match="load it again"):
            await load(worker)


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("die-start", WorkerDied, 'worker \\d+ of "m:latest" exited with code 3.*"no such luck".*loads the model'),
        ("error-start", WorkerFailed, "cannot start: the hook does not fit"),
        ("babble-start", WorkerFailed, "hello there"),
        ("mute-start", WorkerDied, "SIGKILL, because it was not ready within 1.5 seconds"),
    ],
)
async def test_what_goes_wrong_at_the_start(folder: Path, mode: str, kind: type[HypuraError], words: str) -> None:
    deadlines = IMPATIENT if mode == "mute-start" else DEADLINES
    with pytest.raises(ExceptionGroup) as caught:
        async with running(folder, mode, deadlines):
            pass
    [error] = caught.value.exceptions
    assert isinstance(error, kind)
    with pytest.raises(kind, match=words):
        raise error


async def test_a_command_that_is_not_there(folder: Path) -> None:
    worker = WorkerProcess("m", folder, DEADLINES, command=("/nowhere/at/all",))
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(WorkerFailed, match="/nowhere/at/all"):
            await worker.start(tasks, os.environ)
    await worker.stop()


async def test_death_while_loading(folder: Path) -> None:
    async with running(folder, "die-load") as worker:
        with pytest.raises(WorkerDied, match=r'SIGKILL \(by hand.*"out of luck while loading"'):
            await load(worker)


async def test_death_in_the_middle_of_an_answer(folder: Path) -> None:
    async with running(folder, "die-answer") as worker:
        await load(worker)
        began = time.monotonic()
        with pytest.raises(WorkerDied, match='SIGSEGV; its last output: "bad access"'):
            await answer(worker, "a b c d")
        assert time.monotonic() - began < 3
        with pytest.raises(WorkerDied, match="SIGSEGV"):
            await answer(worker, "again")


async def test_death_between_requests_is_noticed_at_once(folder: Path) -> None:
    async with running(folder, "well") as worker:
        os.kill(worker.pid, signal.SIGKILL)
        async with asyncio.timeout(2):
            death = await worker.wait()
        assert death.exit_status == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["mute-load", "mute-answer"])
async def test_a_worker_that_gives_no_sign_is_killed(folder: Path, mode: str) -> None:
    async with running(folder, mode, QUICK_HEARTBEAT) as worker:
        with pytest.raises(WorkerDied, match="because it made no progress for"):
            await load(worker)
            await answer(worker, "a")


async def test_a_stopped_process_is_noticed_and_killed_without_any_request(folder: Path) -> None:
    async with running(folder, "well", QUICK_HEARTBEAT) as worker:
        before = await worker.statistics()
        os.kill(worker.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert await worker.statistics() == before  # What it said last: a status does not wait for it.
        assert time.monotonic() - began < 2
        async with asyncio.timeout(10):
            assert "did not answer for" in (await worker.wait()).explained()


async def test_a_request_to_a_stopped_process_fails_with_the_reason(folder: Path) -> None:
    async with running(folder, "well", QUICK_HEARTBEAT) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(WorkerDied, match="SIGKILL, because it did not answer for"):
            await answer(worker, "a")


async def test_a_slow_answer_does_not_count_as_a_stall_while_others_progress(folder: Path) -> None:
    """A request may wait for long in the worker's queue behind others."""
    async with running(folder, "well", QUICK_HEARTBEAT) as worker, asyncio.timeout(20):
        request = worker_pb2.WorkerGenerateRequest(prompt="forever")
        slow = worker.generate(worker_pb2.WorkerGenerateRequest(prompt="silent"))
        async with aclosing(slow), aclosing(worker.generate(request)) as messages, asyncio.TaskGroup() as tasks:
            first = tasks.create_task(anext(slow))
            until = time.monotonic() + 3 * QUICK_HEARTBEAT.answer_stall_seconds
            async for _ in messages:
                if time.monotonic() > until:
                    break
            assert worker.state is WorkerState.SERVING
            first.cancel()


async def test_a_worker_that_ignores_term_is_killed_after_the_grace(folder: Path) -> None:
    async with running(folder, "deaf", WorkerDeadlines(20.0, 20.0, 20.0, 0.3)) as worker:
        began = time.monotonic()
        await worker.stop()
        assert 0.3 <= time.monotonic() - began < 3
        assert (await worker.wait()).exit_status == -signal.SIGKILL


async def test_closing_the_answer_cancels_it_in_the_worker(folder: Path) -> None:
    async with running(folder, "well") as worker:
        request = worker_pb2.WorkerGenerateRequest(prompt="forever")
        async with aclosing(worker.generate(request)) as messages:
            async for message in messages:
                if message.HasField("chunk"):
                    break
        async with asyncio.timeout(5):
            while (await worker.statistics()).active_requests:
                pass  # Each call waits for the worker; only a cancelled "forever" ends.


async def test_stopping_it_ends_the_answers_with_an_explanation(folder: Path) -> None:
    async with running(folder, "well") as worker:
        begun = asyncio.Event()

        async def ask() -> None:
            async for _ in worker.generate(worker_pb2.WorkerGenerateRequest(prompt="forever")):
                begun.set()

        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask_and_expect_death(ask))
            await begun.wait()
            await worker.stop()
        assert "unloaded" in asking.result() or "stopping" in asking.result()


async def ask_and_expect_death(ask: object) -> str:
    with pytest.raises(WorkerDied) as caught:
        await ask()  # type: ignore[operator]
    return str(caught.value)


async def test_kill_9_of_the_daemon_leaves_no_worker(folder: Path) -> None:
    """The host is a process of its own, so that it can be killed like a daemon."""
    program = f"""
import asyncio, os, sys
from pathlib import Path
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
async def main():
    worker = WorkerProcess("m", Path({str(folder)!r}), WorkerDeadlines(20, 20, 20, 5),
                           command=(sys.executable, {str(FAKE)!r}, "deaf"))
    async with asyncio.TaskGroup() as tasks:
        await worker.start(tasks, os.environ)
        print(worker.pid, flush=True)
        await worker.wait()
asyncio.run(main())
"""
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert host.stdout is not None
    worker = psutil.Process(int(await host.stdout.readline()))
    host.kill()
    await host.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [worker], 2.0)
    assert (len(gone), alive) == (1, [])
