"""The faults: each is begun, lasts a moment, and is healed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import psutil

from hypura_client.errors import HypuraError
from tests.chaos.load import ask
from tests.chaos.world import MODELS, World

Fault = Callable[[World], AbstractContextManager[object]]
CONNECTIONS = 1000
OUT_OF_MEMORY = "a worker takes all memory (OOM kill)"
"""Only where the world could be put into a cgroup."""


def _worker(world: World) -> psutil.Process | None:
    workers = world.workers()
    return world.random.choice(workers) if workers else None


def _signalled(world: World, number: signal.Signals) -> psutil.Process | None:
    worker = _worker(world)
    if worker is not None:
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(number)
    return worker


@contextmanager
def kill_worker(world: World) -> Iterator[None]:
    """A worker is killed."""
    _signalled(world, signal.SIGKILL)
    yield


@contextmanager
def crash_worker(world: World) -> Iterator[None]:
    """A worker dies as of a wild pointer."""
    _signalled(world, signal.SIGSEGV)
    yield


@contextmanager
def pause_worker(world: World) -> Iterator[None]:
    """A worker is stopped for a moment: slow, not dead."""
    worker = _signalled(world, signal.SIGSTOP)
    try:
        yield
    finally:
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGCONT)


@contextmanager
def freeze_worker(world: World) -> Iterator[None]:
    """A worker is stopped and never goes on: the stall rule must find it."""
    _signalled(world, signal.SIGSTOP)
    yield


def shim(words: str) -> Fault:
    """A fault of preload.c."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.say(words)
        try:
            yield
        finally:
            world.say("")

    fault.__doc__ = f"The shim is told: {words}."
    return fault


@contextmanager
def truncate_model(world: World) -> Iterator[None]:
    """A model's file loses its second half while it is in use."""
    name = world.random.choice(MODELS)[0]
    file = world.model_file(name)
    os.truncate(file, file.stat().st_size // 2)
    try:
        yield
    finally:
        world.restore(name)


@contextmanager
def replace_model(world: World) -> Iterator[None]:
    """A model's file is replaced by another file of the same content."""
    world.restore(world.random.choice(MODELS)[0])
    yield


@contextmanager
def missing_model(world: World) -> Iterator[None]:
    """A model's file is gone for a moment."""
    name = world.random.choice(MODELS)[0]
    world.model_file(name).unlink()
    try:
        yield
    finally:
        world.restore(name)


@contextmanager
def reload_in_use(world: World) -> Iterator[None]:
    """A model is loaded anew with another cache while it answers; what it says stays the same."""
    name, options = world.random.choice(MODELS)[0], world.options()
    options.weight_cache_percent = world.random.choice((15.0, 30.0, 60.0))
    with world.client(60) as client, suppress(HypuraError):
        client.load(name, options)
    yield


@contextmanager
def hang_up(world: World) -> Iterator[None]:
    """A client hangs up in the middle of an answer."""
    with world.client(30) as client, suppress(HypuraError), client.generate(MODELS[0][0], "hello") as events:
        next(events)
    yield


@contextmanager
def slow_reader(world: World) -> Iterator[None]:
    """A client asks and does not read."""
    with world.client(30) as client, suppress(HypuraError), client.generate(MODELS[0][0], "hello") as events:
        next(events)
        yield
        return
    yield


@contextmanager
def many_connections(world: World) -> Iterator[None]:
    """A thousand connections that say nothing, or half a request."""
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.settimeout(5)
            with suppress(OSError):
                connection.connect(str(world.home / "run" / "control.sock"))
                if number % 2:
                    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM")
        yield


@contextmanager
def oversized_prompt(world: World) -> Iterator[None]:
    """A prompt far beyond the context."""
    with world.client(30) as client, suppress(HypuraError):
        ask(client, MODELS[0][0], "word " * 20000)
    yield


FAULTS: dict[str, Fault] = {
    "kill -9 of a worker": kill_worker,
    "SIGSEGV of a worker": crash_worker,
    "SIGSTOP, then SIGCONT": pause_worker,
    "SIGSTOP for ever": freeze_worker,
    "read errors (EIO)": shim("eio 0"),
    "short reads": shim("short 0"),
    "reads at an early end": shim("end 0"),
    "slow reads": shim("slow 30"),
    "clock an hour ahead": shim("clock 3600"),
    "clock a day back": shim("clock -86400"),
    "disk full": shim("full 0"),
    "request lost on its way to a worker": shim("request 0"),
    "reply lost on its way from a worker": shim("reply 0"),
    "model file truncated in use": truncate_model,
    "model file replaced in use": replace_model,
    "model file gone": missing_model,
    "loaded anew in use": reload_in_use,
    "client hangs up": hang_up,
    "client does not read": slow_reader,
    "1,000 silent connections": many_connections,
    "prompt beyond the context": oversized_prompt,
    OUT_OF_MEMORY: shim("hog 0"),
}
