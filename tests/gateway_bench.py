"""What the gateway costs: tokens a second through it, and the time that it adds to one; how long a list takes.

    python -m tests.gateway_bench --streams 32 --tokens 2000
    python -m tests.gateway_bench --load model.gguf

A worker process without a model emits tokens as fast as it can; between it and the client are the daemon's gRPC
call, the inference core, the dialect and uvicorn, as in use. The same worker, asked over gRPC alone, is the floor.

With --load, a daemon of its own loads that model while its demo model generates, and 8 clients ask what is there, each
the next question as soon as the last is answered: the times until they know, in milliseconds. Listing must not wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import uvloop

from hypura.locations import HttpAddress
from hypura.v1 import worker_pb2
from hypura_client.sync import Client
from hypura_daemon.gateway.app import build
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.connections import Connections
from hypura_daemon.gateway.http.guard import Rules
from hypura_daemon.gateway.http.listening import listen
from hypura_daemon.gateway.http.server import GatewayServer
from hypura_daemon.inference import Inference
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.system.descriptors import Places
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from tests.compatibility.daemon import running_daemon
from tests.daemon.residency.harness import make_plan
from tests.models.writer import write_synthetic_model

MODEL = "m"
DEMO = "demo"
LISTING_CLIENTS = 8
QUESTIONS = (
    ("/api/show", json.dumps({"model": MODEL}).encode()),
    ("/api/tags", b""),
    ("/api/ps", b""),
    ("/api/version", b""),
)
DEADLINES = WorkerDeadlines(start_seconds=30, load_stall_seconds=30, answer_stall_seconds=60, grace_seconds=5)


async def planned(name: str, request: LoadRequest, *, whole: bool) -> Plan:
    return make_plan(name, 1_000_000)


def reads(port: int, streams: int, tokens: int, told: Any) -> None:
    """A client process: `streams` answers at once; tells tokens, seconds, and each line's time."""
    uvloop.run(_read_all(port, streams, tokens, told))


async def _read_all(port: int, streams: int, tokens: int, told: Any) -> None:
    began = time.monotonic()
    counts = await asyncio.gather(*(_read(port, tokens) for _ in range(streams)))
    told.put((sum(counts), time.monotonic() - began))


async def _read(port: int, tokens: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    body = json.dumps(
        {"model": MODEL, "prompt": "flood", "raw": True, "options": {"num_predict": tokens, "temperature": 0}}
    ).encode()
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    count, last = 0, b""
    while data := await reader.read(1 << 16):
        count += data.count(b'"done":false')
        last = (last + data)[-1000:]
    writer.close()
    assert b'"done": true' in last, last
    counted = json.loads(last[last.rindex(b'{"model') : last.rindex(b"}") + 1])["eval_count"]
    assert counted == tokens, (counted, tokens)
    return tokens


async def measure(streams: int, tokens: int) -> dict[str, float]:
    """One round."""
    with tempfile.TemporaryDirectory(prefix="hyp") as folder:
        home = Path(folder)
        write_synthetic_model("tiny-moe", home / "m.gguf")
        registry = Registry(home)
        registry.add(home / "m.gguf", MODEL)
        command = (sys.executable, "-m", "tests.daemon.residency.fake_worker", "well")
        supervisor = Supervisor(
            planned,
            lambda name: WorkerProcess(name, home, DEADLINES, log_level="info", command=command),
            memory_budget_bytes=1 << 30,
            reload_wait_seconds=10,
        )
        listener = listen(HttpAddress("127.0.0.1", 0))
        core = Core(
            Inference(supervisor, registry, context_tokens=4096), registry, supervisor, cast(Any, None), cast(Any, None)
        )
        gateway = GatewayServer(
            build(core, Rules("127.0.0.1"), 1 << 20), [listener], 1, Connections(Places(256, 16, 16), 60.0)
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            tasks.create_task(gateway.run())
            try:
                port = listener.getsockname()[1]
                await _from_process(port, 1, 1)  # Loads it.
                many_tokens, many_seconds = await _from_process(port, streams, tokens)
                one_tokens, one_seconds = await _from_process(port, 1, tokens)
                floor_seconds = await _floor(supervisor, tokens)
            finally:
                gateway.end()
                supervisor.end()
    return {
        "streams": streams,
        "tokens_per_second": many_tokens / many_seconds,
        "one_stream_tokens_per_second": one_tokens / one_seconds,
        "added_milliseconds_per_token": 1000 * (one_seconds - floor_seconds) / one_tokens,
    }


async def _from_process(port: int, streams: int, tokens: int) -> tuple[int, float]:
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    client = context.Process(target=reads, args=(port, streams, tokens, told))
    client.start()
    try:
        return cast(tuple[int, float], await asyncio.to_thread(told.get, True, 120))
    finally:
        await asyncio.to_thread(client.join, 10)


async def _floor(supervisor: Supervisor, tokens: int) -> float:
    """The worker's own time for the same tokens, over its socket."""
    async with supervisor.lease(f"{MODEL}:latest") as lease:
        asked = worker_pb2.WorkerGenerateRequest(request_id="r", prompt="flood")
        asked.limits.max_tokens = tokens
        began = time.monotonic()
        async for _ in lease.worker.generate(asked):
            pass
        return time.monotonic() - began


def lists(port: int, ended: Any, told: Any) -> None:
    """A client process: asks until the event is set; tells each answer's path and seconds."""
    uvloop.run(_list_all(port, ended, told))


async def _list_all(port: int, ended: Any, told: Any) -> None:
    clients = await asyncio.gather(*(_list(port, client, ended) for client in range(LISTING_CLIENTS)))
    told.put([entry for entries in clients for entry in entries])


async def _list(port: int, client: int, ended: Any) -> list[tuple[str, float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    taken: list[tuple[str, float]] = []
    while not ended.is_set():
        path, body = QUESTIONS[(client + len(taken)) % len(QUESTIONS)]
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        began = time.monotonic()
        writer.write(head.encode() + body)
        told = await reader.readuntil(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200"), told
        await reader.readexactly(int(told.lower().partition(b"content-length:")[2].split()[0]))
        taken.append((path, time.monotonic() - began))
    writer.close()
    return taken


def measure_listing(model: Path) -> dict[str, float]:
    """One load, with an answer of the demo model beside it."""
    context = multiprocessing.get_context("spawn")
    ended, told = context.Event(), context.Queue()
    with running_daemon() as daemon, httpx.Client(base_url=daemon.address, timeout=600) as http:
        with Client(daemon.socket) as control:
            control.add(model, MODEL)
        http.post("/api/generate", json={"model": DEMO}).raise_for_status()
        client = context.Process(target=lists, args=(httpx.URL(daemon.address).port, ended, told))
        client.start()
        try:
            with ThreadPoolExecutor(1) as other:
                answers = other.submit(_answer_until, daemon.address, ended)
                began = time.monotonic()
                http.post("/api/generate", json={"model": MODEL}).raise_for_status()
                load_seconds = time.monotonic() - began
                ended.set()
                tokens = answers.result()
            taken = told.get(timeout=60)
        finally:
            ended.set()
            client.join(10)
    figures = {"load_seconds": load_seconds, "tokens_beside": tokens, "answers": len(taken)}
    for path, _ in QUESTIONS:
        cuts = statistics.quantiles([1000 * seconds for asked, seconds in taken if asked == path], n=100)
        figures |= {f"{path}_p50_milliseconds": cuts[49], f"{path}_p99_milliseconds": cuts[98]}
    return figures


def _answer_until(address: str, ended: Any) -> int:
    """Answers of the demo model, one after the other; the tokens of those that were whole."""
    tokens = 0
    asked = {"model": DEMO, "prompt": "hi", "raw": True, "stream": False, "options": {"num_predict": 500}}
    with httpx.Client(base_url=address, timeout=600) as http:
        while not ended.is_set():
            tokens += http.post("/api/generate", json=asked).raise_for_status().json()["eval_count"]
    return tokens


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gateway_bench", description=__doc__)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=1000, help="of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=Path, metavar="GGUF", help="measure listing during this model's load instead")
    options = parser.parse_args(given)
    if options.load is not None:
        print(json.dumps({key: round(value, 1) for key, value in measure_listing(options.load).items()}))
        return 0
    rounds = [uvloop.run(measure(options.streams, options.tokens)) for _ in range(options.rounds)]
    print(json.dumps({key: round(statistics.median(r[key] for r in rounds), 3) for key in rounds[0]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
