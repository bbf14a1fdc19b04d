"""AsyncClient and Client against a daemon process with canned answers."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from hypura.v1 import control_pb2, inference_pb2
from hypura_client.client import AsyncClient
from hypura_client.errors import (
    Cancelled,
    CannotConnect,
    DeadlineExceeded,
    ModelNotFound,
    UnexpectedReply,
    WorkerDied,
)
from hypura_client.sync import Client


def text_of(event: inference_pb2.ChatResponse | inference_pb2.GenerateResponse) -> str:
    return event.chunk.text


async def test_async_calls(daemon_socket: Path) -> None:
    async with AsyncClient(daemon_socket) as client:
        assert (await client.status()).daemon.version == "9.9"
        assert (await client.show("ready")).chat_template
        assert (await client.plan("ready")).plan.resident_bytes == 1_000_000_000
        assert (await client.profile()).profile.cpu
        assert (await client.unload("ready")).was_loaded
        assert (await client.load("ready")).worker_pid == 4321
        assert (await client.tokenize("ready", "ab")).token_ids == [97, 98]
        assert (await client.embed("ready", ["abc"])).embeddings[0].values == [3.0]
        texts = [text_of(event) async for event in client.generate("ready", [1, 2])]
        assert "".join(texts) == "né [1, 2]"
        with pytest.raises(ModelNotFound, match="no model missing"):
            await client.show("missing")


def test_sync_calls(daemon_socket: Path) -> None:
    with Client(str(daemon_socket)) as client:
        assert client.status().daemon.version == "9.9"
        assert client.show("ready").chat_template
        assert client.plan("ready").plan.resident_bytes == 1_000_000_000
        assert client.profile().profile.cpu
        assert client.unload("ready").was_loaded
        assert client.load("ready").worker_pid == 4321
        assert client.tokenize("ready", "ab").token_ids == [97, 98]
        assert client.embed("ready", ["abc"]).embeddings[0].values == [3.0]
        message = inference_pb2.ChatMessage(role="user", content="hi")
        assert "".join(text_of(event) for event in client.chat("ready", [message])) == "né hi"
        with pytest.raises(ModelNotFound, match="no model missing"):
            client.show("missing")


async def test_async_registering(daemon_socket: Path, tmp_path: Path) -> None:
    file = tmp_path / "async.gguf"
    file.touch()
    async with AsyncClient(daemon_socket) as client:
        assert (await client.add(file)).models[0].name == "async"
        assert "async" in {model.name for model in (await client.models()).models}
        await client.remove("async")
        assert "async" not in {model.name for model in (await client.models()).models}


async def test_async_stream_errors(daemon_socket: Path) -> None:
    async with AsyncClient(daemon_socket, timeout_seconds=0.3) as client:
        with pytest.raises(WorkerDied, match="signal 9"):
            async for _ in client.generate("dying", "x"):
                pass
        with pytest.raises(UnexpectedReply):
            await client.load("unready")
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            async for _ in client.generate("silent", "x"):
                pass
        with pytest.raises(DeadlineExceeded):
            await client.embed("silent", ["x"])


def test_sync_stream_errors(daemon_socket: Path) -> None:
    with Client(daemon_socket, timeout_seconds=0.3) as client:
        with pytest.raises(WorkerDied, match="signal 9"):
            list(client.generate("dying", "x"))
        with pytest.raises(UnexpectedReply):
            client.load("unready")
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            list(client.generate("silent", "x"))
        with pytest.raises(DeadlineExceeded):
            client.embed("silent", ["x"])


def test_the_idle_deadline_is_not_for_the_whole_stream(daemon_socket: Path) -> None:
    with Client(daemon_socket, timeout_seconds=0.5) as client, client.generate("ready", "forever") as events:
        started = time.monotonic()
        for _ in events:
            if time.monotonic() - started > 1.0:
                break


async def test_async_cancel_reaches_the_daemon(daemon_socket: Path) -> None:
    async with AsyncClient(daemon_socket) as client, client.watch() as changes:
        before = (await anext(changes)).status.models[0].statistics.failed_requests
        events = client.generate("ready", "forever")
        await anext(events)
        events.cancel()
        with pytest.raises(Cancelled):
            async for _ in events:
                pass
        assert (await anext(changes)).status.models[0].statistics.failed_requests > before


async def test_a_cancelled_task_stays_cancelled_and_ends_its_call(daemon_socket: Path) -> None:
    async with AsyncClient(daemon_socket) as client, client.watch() as changes:
        before = (await anext(changes)).status.models[0].statistics.failed_requests
        started = asyncio.Event()

        async def consume() -> None:
            async for _ in client.generate("ready", "forever"):
                started.set()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(consume())
            await started.wait()
            task.cancel()
        assert task.cancelled()
        assert (await anext(changes)).status.models[0].statistics.failed_requests > before


def test_sync_cancel_from_another_thread(daemon_socket: Path) -> None:
    with Client(daemon_socket) as client, client.watch() as changes:
        before = next(changes).status.models[0].statistics.failed_requests
        events = client.generate("ready", "forever")
        next(events)
        canceller = threading.Thread(target=events.cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            list(events)
        canceller.join()
        assert next(changes).status.models[0].statistics.failed_requests > before


async def test_no_daemon(short_folder: Path) -> None:
    absent = short_folder / "absent.sock"
    stale = short_folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(stale))
    for where in (absent, stale):
        with Client(where) as client, pytest.raises(CannotConnect, match="hypurad"):
            client.status()
        async with AsyncClient(where) as async_client:
            with pytest.raises(CannotConnect, match="hypurad"):
                await async_client.status()
            with pytest.raises(CannotConnect):
                await anext(async_client.watch())


def test_load_options_arrive(daemon_socket: Path) -> None:
    options = control_pb2.LoadOptions(memory_limit_bytes=5, weight_cache_percent=0.0)
    with Client(daemon_socket) as client:
        kinds = [event.WhichOneof("event") for event in client.load_events("ready", options)]
    assert kinds == ["stage", "progress", "loaded"]
