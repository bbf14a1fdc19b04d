"""One request must not slow others: what a client sends, while other calls and the event loop itself are timed.

The gateway, the core and a worker's process are real; the worker has no model.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import httpx
import pytest

from hypura.v1 import inference_pb2
from hypura_daemon.gateway.app import build
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.connections import Connections
from hypura_daemon.gateway.http.guard import Rules
from hypura_daemon.gateway.http.server import GatewayServer
from hypura_daemon.inference import Inference
from hypura_daemon.system.descriptors import Places
from tests.daemon import test_inference

WAIT_SECONDS = 60.0
BODY_LIMIT_BYTES = 128 << 20


@dataclass
class Daemon:
    http: httpx.AsyncClient
    address: tuple[str, int]
    pauses: list[float] = field(default_factory=list)

    async def chat(self, model: str = "m") -> httpx.Response:
        body = {"model": model, "stream": False, "messages": [{"role": "user", "content": "hi"}]}
        return await self.http.post("/api/chat", json=body)


def request_of(path: str, pieces: Iterable[bytes], *head: str) -> tuple[str, bytes]:
    body = b"".join(pieces)
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}", *head]
    return "\r\n".join([*lines, "", ""]), body


def sent(address: tuple[str, int], head: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request that is sent from another thread, as fast as it is taken."""
    with socket.create_connection(address, timeout=WAIT_SECONDS) as connection:
        connection.sendall(head.encode())
        try:
            connection.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It was refused before all of it was sent.
        answer = b""
        try:
            while piece := connection.recv(1 << 16):
                answer += piece
        except ConnectionResetError:
            pass
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def running() -> AsyncIterator[Daemon]:
    """A daemon in this event loop. `pauses` are the loop's, in processor time, as other programs run too."""
    async with test_inference.serving() as served:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            core = Core(
                inference=served.inference,
                registry=cast(Any, test_inference.Shelf()),
                supervisor=served.supervisor,
                settings=cast(Any, None),
                manager=cast(Any, None),
            )
            connections = Connections(Places(256, 16, 16), 60.0)
            server = GatewayServer(build(core, Rules("127.0.0.1"), BODY_LIMIT_BYTES), [listener], 1, connections)
            serving = asyncio.ensure_future(server.run())
            address = listener.getsockname()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", timeout=WAIT_SECONDS) as http:
                daemon = Daemon(http, address)
                for _ in range(2):  # The first starts the worker and the process that renders.
                    assert (await daemon.chat()).status_code == 200
                watching = asyncio.ensure_future(_watch(daemon.pauses))
                try:
                    yield daemon
                finally:
                    watching.cancel()
                    server.end()
                    await serving


async def _watch(pauses: list[float]) -> None:
    while True:
        began = time.process_time()
        await asyncio.sleep(0.005)
        pauses.append(time.process_time() - began)


async def test_slow_chat_templates_hold_up_neither_other_calls_nor_other_chats() -> None:
    """A bug once: six of them held all threads of the default executor, and an unrelated call waited 4.7 s."""
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    async with running() as daemon:
        slow = []
        for number in range(8):
            body = {"model": "m", "prompt": "x", "stream": False, "template": f"{number}{loops}"}
            slow.append(asyncio.ensure_future(daemon.http.post("/api/generate", json=body)))
        await asyncio.sleep(0.5)  # All of them have come, and some are being rendered.
        assert (await daemon.chat()).status_code == 200
        assert not any(answer.done() for answer in slow), "it waited for one of them"
        for answer in slow:
            answer.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


MESSAGE = b'{"role":"user","content":"a"}'


LAST = b',{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}'
"""The template of "thinker" takes nothing else, so the worker without a model gets a short prompt."""


def chat_of(messages: bytes, path: str = "/api/chat") -> tuple[str, bytes]:
    limit = b'"max_tokens":1,' if path == "/v1/messages" else b""
    return request_of(path, [b'{"model":"thinker","stream":false,', limit, b'"messages":[', messages, LAST])


MIB = 1 << 20
WORDS = b"hello wo" * (9 * MIB // 8)
BODIES = {
    "9 MB of small messages": (chat_of(b",".join([MESSAGE] * 300_000)), 413),
    "as many messages as may be": (chat_of(b",".join([MESSAGE] * 31_000)), 200),
    "the same for OpenAI": (chat_of(b",".join([MESSAGE] * 31_000), "/v1/chat/completions"), 200),
    "the same for Anthropic": (chat_of(b",".join([MESSAGE] * 31_000), "/v1/messages"), 200),
    "9 MB of text": (chat_of(b'{"role":"user","content":"%b"}' % WORDS), 200),
    "9 MB of escapes": (chat_of(b'{"role":"user","content":"%b"}' % (b"\\u4e2d" * (3 * MIB // 2))), 200),
    "9 MB of line ends": (chat_of(b'{"role":"user","content":"%b"}' % (b"\\n" * (9 * MIB // 2))), 200),
    "9 MB of numbers": (
        request_of("/v1/completions", [b'{"model":"m","prompt":[', b",".join([b"1234567"] * MIB), b"]}"]),
        413,
    ),
    "as many numbers as may be": (
        request_of("/v1/embeddings", [b'{"model":"m","input":[', b",".join([b"1234567"] * 520_000), b"]}"]),
        200,
    ),
    "half a million wrong messages": (chat_of(b",".join([b"1"] * 520_000)), 400),
    "an object of many keys": (
        chat_of(b'{"role":"user","x":{%b}}' % b",".join(b'"%d":1' % number for number in range(30_000))),
        200,
    ),
    "a picture of 20 MB": (chat_of(b'{"role":"user","content":"x","images":["%b"]}' % (b"iVBO" * (7 * MIB))), 400),
    "100 MB of text": (chat_of(b'{"role":"user","content":"%b"}' % (b"hello wo" * (100 * MIB // 8))), 413),
}


async def test_large_bodies_do_not_stop_the_event_loop() -> None:
    """A bug once: 9 MB of small messages were read in the event loop, and held up all requests for 3.8 s."""
    longest_seconds: dict[str, float] = {}
    async with running() as daemon:
        for name, (request, status) in BODIES.items():
            daemon.pauses.clear()
            told, answer = await asyncio.to_thread(sent, daemon.address, *request)
            assert told == status, (name, answer[:300])
            longest_seconds[name] = max(daemon.pauses)
    assert max(longest_seconds.values()) < 0.5, longest_seconds  # A tenth of that on a quiet machine.


async def test_embeddings_of_millions_of_numbers_do_not_stop_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug once: their JSON was written in the event loop."""
    vector = inference_pb2.Embedding(values=[number / 7 for number in range(4096)])
    answer = inference_pb2.EmbedResponse(embeddings=[vector] * 200, prompt_tokens=3)

    async def embed(self: Inference, request: inference_pb2.EmbedRequest) -> inference_pb2.EmbedResponse:
        return answer

    monkeypatch.setattr(Inference, "embed", embed)
    texts: dict[str, bytes] = {}
    async with running() as daemon:
        for path in ("/api/embed", "/v1/embeddings"):
            url = f"http://127.0.0.1:{daemon.address[1]}{path}"
            asked = partial(httpx.post, url, json={"model": "m", "input": ["a"]}, timeout=WAIT_SECONDS)
            daemon.pauses.clear()
            answered = await asyncio.to_thread(asked)
            assert answered.status_code == 200 and max(daemon.pauses) < 0.5, max(daemon.pauses)
            texts[path] = answered.content
    for vectors in (
        json.loads(texts["/api/embed"])["embeddings"],
        [item["embedding"] for item in json.loads(texts["/v1/embeddings"])["data"]],
    ):
        assert len(vectors) == 200 and vectors[-1] == list(vector.values)
