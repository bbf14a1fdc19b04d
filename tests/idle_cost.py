"""What a daemon without a model costs: its start, its memory before and after many requests, its idle CPU.

python -m tests.idle_cost [--requests 100000] [--idle-seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from hypura.v1 import control_pb2, control_pb2_grpc
from tests.daemon.test_app import COMMAND, environment

CONNECTIONS = 4
START_SECONDS = 30.0
PATHS = ("/api/version", "/api/tags")


@dataclass(frozen=True)
class Cost:
    """first_byte: of /api/version, from the start of the process. growth: of the RSS by all the requests."""

    first_byte_seconds: float
    rss_bytes: int
    growth_bytes: int
    idle_cpu_share: float
    requests_per_second: float


def measure(requests: int, idle_seconds: float) -> Cost:
    """Run a daemon of its own and measure it; a third of the requests to each of PATHS and to gRPC's Status."""
    with tempfile.TemporaryDirectory(prefix="hyp") as home, socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
        found.close()
        begun = time.monotonic()
        command = [*COMMAND, "--http", f"127.0.0.1:{port}", "--memory", "2GB"]
        with subprocess.Popen(command, env=environment(Path(home)), stderr=subprocess.DEVNULL) as process:
            try:
                first_byte_seconds = _first_byte(port) - begun
                daemon = psutil.Process(process.pid)
                # Its first answer of each kind, which imports and lists what the later ones use.
                asyncio.run(_ask_all(Path(home), port, 3 * CONNECTIONS))
                rss_bytes = daemon.memory_info().rss
                cpu_seconds, since = _cpu_seconds(daemon), time.monotonic()
                time.sleep(idle_seconds)
                idle_cpu_share = (_cpu_seconds(daemon) - cpu_seconds) / (time.monotonic() - since)
                asked = time.monotonic()
                asyncio.run(_ask_all(Path(home), port, requests))
                rate = requests / (time.monotonic() - asked)
                growth_bytes = daemon.memory_info().rss - rss_bytes
            finally:
                process.terminate()
    return Cost(first_byte_seconds, rss_bytes, growth_bytes, idle_cpu_share, rate)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _first_byte(port: int) -> float:
    """When the first byte of an answer came; asked again and again until somebody listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS) as connection:
                connection.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(1)
                return time.monotonic()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the daemon does not start"
            time.sleep(0.005)


async def _ask_all(home: Path, port: int, requests: int) -> None:
    share = requests // (CONNECTIONS * (len(PATHS) + 1))
    async with asyncio.TaskGroup() as tasks:
        for path in PATHS:
            for _ in range(CONNECTIONS):
                tasks.create_task(_by_http(port, path, share))
        tasks.create_task(_by_grpc(home, share * CONNECTIONS))


async def _by_http(port: int, path: str, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()
    await writer.wait_closed()


async def _by_grpc(home: Path, requests: int) -> None:
    async with grpc.aio.insecure_channel(f"unix:{home}/run/control.sock") as channel:
        control = control_pb2_grpc.ControlServiceStub(channel)
        for _ in range(requests):
            await control.Status(control_pb2.StatusRequest())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    cost = measure(arguments.requests, arguments.idle_seconds)
    print(f"first byte of /api/version  {cost.first_byte_seconds:.2f} s after the start")
    print(f"RSS without a model         {cost.rss_bytes / 1e6:.1f} MB")
    print(f"growth                      {cost.growth_bytes / 1e6:.1f} MB over {arguments.requests} requests")
    print(f"CPU when idle               {cost.idle_cpu_share:.3%} over {arguments.idle_seconds:g} s")
    print(f"requests                    {cost.requests_per_second:.0f} per second")


if __name__ == "__main__":
    main()
