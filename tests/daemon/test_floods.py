"""Floods of connections at a daemon with few descriptors and a loaded model: it goes on serving its clients."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc
from tests.daemon.in_process import listening
from tests.daemon.test_app import COMMAND, START_SECONDS, environment

ASKED = {"model": "demo", "prompt": "hello", "stream": False, "options": {"num_predict": 4}}
CONNECTIONS = 2000
FEW_DESCRIPTORS = 64
ANSWER_SECONDS = 60.0
MOST_GROWTH_BYTES = 12_000_000
"""Of the daemon's memory by a second flood: what the first one made is kept by the allocator, and used again."""


@dataclass(frozen=True)
class Flooded:
    """A daemon with a loaded model; client has a place."""

    process: psutil.Process
    client: httpx.Client
    log: Path
    socket: Path

    @property
    def port(self) -> int:
        return int(str(self.client.base_url).rpartition(":")[2])

    def answers(self) -> None:
        """The model's, over the connection that was there before."""
        answer = self.client.post("/api/generate", json=ASKED)
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def flooded() -> Iterator[Flooded]:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))

    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        home, log = Path(name), Path(name) / "log"
        command = [*COMMAND, "--memory", "2GB", "--log-file", str(log)]
        with subprocess.Popen(command, env=environment(home), stderr=subprocess.DEVNULL, preexec_fn=few) as process:
            try:
                deadline = time.monotonic() + START_SECONDS
                while not (log.exists() and (address := listening(log.read_text()))):
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.02)
                with httpx.Client(base_url=f"http://{address}", timeout=ANSWER_SECONDS) as client:
                    flooded = Flooded(psutil.Process(process.pid), client, log, home / "run/control.sock")
                    flooded.answers()
                    yield flooded
                    assert process.poll() is None, "the daemon lives"
                    assert "Traceback" not in log.read_text(), log.read_text()[-6000:]
            finally:
                process.terminate()
                process.wait(START_SECONDS)


@contextmanager
def open_connections(connect: Callable[[], socket.socket], count: int) -> Iterator[list[socket.socket]]:
    """So many, as far as they are taken."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            with suppress(OSError):
                connection = stack.enter_context(connect())
                made.append(connection)
                if number % 3 == 1:
                    connection.send(b"POST /api/generate HTTP/1.1\r\nHost: loc")
                if number % 3 == 2:
                    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM")
        yield made


def until_flat(flooded: Flooded, before: int) -> int:
    """The daemon's descriptors, once those of the flood are closed."""
    deadline = time.monotonic() + START_SECONDS
    while (now := flooded.process.num_fds()) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def test_connections_to_the_gateway(flooded: Flooded) -> None:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", flooded.port), timeout=5)

    rss_bytes = []
    before = flooded.process.num_fds()
    for _ in range(2):
        with open_connections(connect, CONNECTIONS) as made:
            assert len(made) == CONNECTIONS
            flooded.answers()
            assert flooded.process.num_fds() < FEW_DESCRIPTORS
            with grpc.insecure_channel(f"unix:{flooded.socket}") as channel:
                control = control_pb2_grpc.ControlServiceStub(channel)
                assert control.Status(control_pb2.StatusRequest(), timeout=10).models[0].name == "demo:latest"
        assert until_flat(flooded, before) <= before
        rss_bytes.append(flooded.process.memory_info().rss)
    assert rss_bytes[1] - rss_bytes[0] < MOST_GROWTH_BYTES


@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1/messages"])
def test_a_connection_without_a_place_is_refused_in_its_dialect(flooded: Flooded, path: str) -> None:
    def busy() -> socket.socket:
        """One with a request under way, which keeps its place."""
        connection = socket.create_connection(("127.0.0.1", flooded.port), timeout=5)
        connection.send(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\ncontent-length: 100\r\n\r\n{")
        return connection

    with open_connections(busy, 24), httpx.Client(base_url=flooded.client.base_url, timeout=10) as client:
        answer = client.post(path, json=ASKED)
        assert answer.status_code == 503, answer.text
        assert answer.headers["connection"] == "close"
        error = json.loads(answer.text)["error"]
        words = error if isinstance(error, str) else error["message"]
        assert "connections are open" in words and "HYPURA_CONNECTIONS" in words
        flooded.answers()


def test_connections_to_the_control_socket(flooded: Flooded) -> None:
    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        try:
            connection.connect(str(flooded.socket))
        except OSError:
            connection.close()
            raise
        return connection

    before = flooded.process.num_fds()
    with grpc.insecure_channel(f"unix:{flooded.socket}") as channel:
        control = control_pb2_grpc.ControlServiceStub(channel)
        assert control.Status(control_pb2.StatusRequest(), timeout=10).daemon.pid == flooded.process.pid
        with open_connections(connect, CONNECTIONS):
            assert control.Status(control_pb2.StatusRequest(), timeout=10).daemon.pid == flooded.process.pid
            flooded.answers()
            assert flooded.process.num_fds() <= FEW_DESCRIPTORS
            cpu = flooded.process.cpu_times()
            time.sleep(1.0)  # how busy it is meanwhile
            later = flooded.process.cpu_times()
            assert later.user + later.system - cpu.user - cpu.system < 0.5, "it spins"
    assert until_flat(flooded, before + 1) <= before + 1
    flooded.answers()
