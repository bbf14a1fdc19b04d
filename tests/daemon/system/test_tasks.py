"""Background tasks that fail are restarted; the daemon and its requests go on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog

from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_daemon import app
from hypura_daemon.gateway.http.server import GatewayServer
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.system.service_manager import CONTROL, HTTP, Notifier
from hypura_daemon.system.tasks import supervised
from hypura_daemon.system.threads import in_own_thread
from tests.daemon.in_process import serving
from tests.daemon.test_app import home

__all__ = ["home"]  # a fixture


def no_descriptors() -> OSError:
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_work_that_fails_is_restarted_with_growing_pauses() -> None:
    tries: list[float] = []

    async def work() -> None:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 5:
            raise no_descriptors() if len(tries) % 2 else ValueError("a defect")

    with structlog.testing.capture_logs() as lines:
        await supervised("watcher", work, first_pause_seconds=0.01, longest_pause_seconds=0.04)
    assert [line["pause_seconds"] for line in lines] == [0.01, 0.02, 0.04, 0.04]
    assert {line["task"] for line in lines} == {"watcher"}
    assert "Too many open files" in lines[0]["error"] and lines[0]["exc_info"] is None
    assert isinstance(lines[1]["exc_info"], ValueError)


async def test_work_that_is_cancelled_ends() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(supervised("watcher", work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_thread_of_its_own_gives_its_result_or_its_error() -> None:
    assert await in_own_thread(lambda: 7, name="t") == 7
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 / 0, name="t")


class Failing:
    """Fails once, then calls the original."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.calls = 0
        self.again = asyncio.Event()
        self._original = original

    async def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        if self.calls == 1:
            raise no_descriptors()
        self.again.set()
        await self._original(*arguments)

    def method(self) -> Any:
        """As a method of a class."""
        failing = self

        async def call(this: Any, *arguments: Any) -> None:
            await failing(this, *arguments)

        return call


@pytest.mark.parametrize(
    "kind", ["supervisor", "memory pressure", "watchdog", "gateway", "control relay", "measuring", "preload"]
)
async def test_each_kind_of_background_task_fails_without_ending_anything(
    home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "supervised", partial(supervised, first_pause_seconds=0.01))
    monkeypatch.setattr(app, "MEASURING_DELAY_SECONDS", 0.0)
    owner, name = {
        "supervisor": (Supervisor, "run"),
        "watchdog": (Notifier, "watch"),
        "gateway": (GatewayServer, "run"),
        "measuring": (HardwareStore, "run"),
        "memory pressure": (app, "watch_pressure"),
        "control relay": (app, "relay"),
        "preload": (app, "preload"),
    }[kind]
    failing = Failing(getattr(owner, name))
    monkeypatch.setattr(owner, name, failing if owner is app else failing.method())
    path = home / "run/control.sock"
    if kind == "control relay":
        path.parent.mkdir()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(app, "handed_sockets", lambda environ: {HTTP: [], CONTROL: [listener]})
    async with serving(home, socket=str(path)) as address:
        async with asyncio.timeout(20):
            await failing.again.wait()
            async with httpx.AsyncClient(base_url=f"http://{address}") as client:
                assert (await client.get("/api/version")).status_code == 200
                asked = {"model": "demo", "prompt": "hi", "stream": False, "options": {"num_predict": 1}}
                assert (await client.post("/api/generate", json=asked, timeout=20)).status_code == 200
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                control = control_pb2_grpc.ControlServiceStub(channel)
                assert (await control.Status(control_pb2.StatusRequest())).daemon.pid == os.getpid()
    assert failing.calls == 2
