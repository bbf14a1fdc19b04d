"""The faults: each is begun, lasts a moment, and is healed."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import psutil

from hypura.v1 import inference_pb2 as inference
from hypura_client.errors import HypuraError
from tests.chaos.load import ask
from tests.chaos.world import MODELS, World

Fault = Callable[[World], AbstractContextManager[object]]
CONNECTIONS = 1000
GATEWAY_CONNECTIONS = 2000
HOSTILE_SCHEMAS = (
    json.dumps({"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a{0,500}){0,500}$"}}}),
    json.dumps({"type": "string", "pattern": r"^(\d{0,3},?){0,200}$"}),
    json.dumps({"type": "integer", "maximum": 10**400}),
    json.dumps({"enum": [f"word {number}" for number in range(5000)]}),
)
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


@contextmanager
def many_gateway_connections(world: World) -> Iterator[None]:
    """Two thousand connections to the gateway that say nothing, or half a request's head, or half its body."""
    says = (b"", b"GET /api/ta", b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{")
    with ExitStack() as stack, suppress(HypuraError):
        port = world.http_port()
        for number in range(GATEWAY_CONNECTIONS):
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                connection.send(says[number % len(says)])
        yield
        return
    yield


@contextmanager
def no_descriptors(world: World) -> Iterator[None]:
    """The daemon has one descriptor left: whatever opens a file or takes a connection fails, background tasks too."""
    daemon = psutil.Process(world.daemon.pid)
    before = daemon.rlimit(psutil.RLIMIT_NOFILE)
    daemon.rlimit(psutil.RLIMIT_NOFILE, (daemon.num_fds() + 1, before[1]))
    try:
        with suppress(HypuraError), world.client(2) as client:
            client.status()
        yield
    finally:
        daemon.rlimit(psutil.RLIMIT_NOFILE, before)


@contextmanager
def stalled_http_reader(world: World) -> Iterator[None]:
    """A client of the gateway asks for a long stream and reads no more of it than its head."""
    body = json.dumps({"model": MODELS[0][0], "prompt": "hello", "raw": True, "options": {"num_predict": 400}})
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as connection, suppress(HypuraError, OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect(("127.0.0.1", world.http_port()))
        connection.sendall((head + body).encode())
        connection.recv(12)
        yield
        return
    yield


@contextmanager
def hostile_schema(world: World) -> Iterator[None]:
    """A schema whose grammar has no end of states, asked for while other clients stream."""
    name, schema = world.random.choice(MODELS)[0], world.random.choice(HOSTILE_SCHEMAS)
    limits = inference.Limits(max_tokens=8, json_schema=schema)
    with world.client(10) as client, suppress(HypuraError), client.generate(name, "a", limits=limits) as events:
        for _ in events:
            pass
    yield


@contextmanager
def give_up_load(world: World) -> Iterator[None]:
    """A worker is killed; clients ask for its model, and leave while the model is planned and loaded again.

    The daemon keeps the load's options over a crash. It drops them when a model is unloaded by name: the next request
    would load the model with the defaults, which are not exact, and its answers would rightly have other tokens.
    """
    _signalled(world, signal.SIGKILL)
    for seconds in (0.05, 0.3, 1.0):
        for name, _, _ in MODELS:
            with world.client(seconds) as client, suppress(HypuraError):
                ask(client, name, "a")
    yield


@contextmanager
def give_up_measuring(world: World) -> Iterator[None]:
    """A client wants the machine measured anew, and leaves at once."""
    with world.client(0.5) as client, suppress(HypuraError):
        client.profile(refresh=True)
    yield


@contextmanager
def overwrite_model(world: World) -> Iterator[None]:
    """Bytes of a model's file are overwritten in place while it is in use; then the file is put right.

    Its head goes first: a file that still is a model would rightly be loaded anew, and answer with its other weights.
    """
    name = world.random.choice(MODELS)[0]
    file = world.model_file(name)
    with file.open("r+b", buffering=0) as opened:
        opened.write(bytes(64))
        opened.seek(file.stat().st_size // 2)
        opened.write(world.random.randbytes(file.stat().st_size // 4))
    try:
        yield
    finally:
        world.restore(name)


@contextmanager
def read_errors_and_well_again(world: World) -> Iterator[None]:
    """Reads fail for a moment; once they do not, no answer may fail for those that did."""
    name = world.random.choice(MODELS)[0]
    world.say("eio 0")
    try:
        with world.client(30) as client, suppress(HypuraError):
            ask(client, name, "the sea")
    finally:
        world.say("")
    # The shim looks at its file anew every few calls, and reads that are under way end.
    time.sleep(0.5)
    with world.client(60) as client:
        try:
            ask(client, name, "the sea")
        except HypuraError as error:
            if os.strerror(errno.EIO) in str(error):
                world.broken.append(f"{name} still failed of a read error that was over: {error}")
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
    "2,000 connections to the gateway": many_gateway_connections,
    "no descriptors left": no_descriptors,
    "client of the gateway does not read": stalled_http_reader,
    "hostile schema": hostile_schema,
    "client gives up while its model loads": give_up_load,
    "client gives up while the machine is measured": give_up_measuring,
    "model file overwritten in place": overwrite_model,
    "read errors, then well again": read_errors_and_well_again,
    OUT_OF_MEMORY: shim("hog 0"),
}
