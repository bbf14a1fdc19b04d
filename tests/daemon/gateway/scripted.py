"""The gateway on a real socket, over a core that answers as a test says."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.gateway.app import build
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.connections import Connections
from hypura_daemon.gateway.http.guard import Rules
from hypura_daemon.gateway.http.server import GatewayServer
from hypura_daemon.models.registry import Registry
from hypura_daemon.system.descriptors import Places
from tests.daemon.gateway.events import generated

BODY_LIMIT_BYTES = 1 << 20
STUCK = object()
"""In a script: nothing more comes."""
PLACES = Places(256, 16, 16)
CLIENT_STALL_SECONDS = 60.0
SEND_BUFFER_BYTES = 1 << 16
"""Of each connection: Linux's own, megabytes, would take long to fill."""


class ScriptedInference:
    """Answers every request with the script; an exception in it is raised."""

    def __init__(self, script: Sequence[Any]) -> None:
        self.script = script
        self.requests: list[Any] = []
        self.running = 0
        self.busy = asyncio.Event()
        self.idle = asyncio.Event()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[pb.ChatResponse, None]:
        self.requests.append(request)
        self.running += 1
        self.busy.set()
        try:
            for event in self.script:
                if event is STUCK:
                    await asyncio.Event().wait()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    async def generate(self, request: pb.GenerateRequest) -> AsyncGenerator[pb.GenerateResponse, None]:
        async for event in self.chat(cast(Any, request)):
            yield generated(event)

    async def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        self.requests.append(request)
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=[1.0, 0.5]) for _ in request.texts], prompt_tokens=3)

    async def count_chat_tokens(self, request: ChatRequest) -> int:
        self.requests.append(request)
        return 42


@dataclass(frozen=True)
class Gateway:
    address: str
    inference: ScriptedInference
    registry: Registry
    http: httpx.AsyncClient
    server: GatewayServer


@asynccontextmanager
async def serving(*script: Any) -> AsyncIterator[Gateway]:
    inference = ScriptedInference(script)
    with tempfile.TemporaryDirectory(prefix="hyp") as home, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(Path(home))
        core = Core(
            inference=cast(Any, inference),
            registry=registry,
            supervisor=cast(Any, None),
            settings=cast(Any, None),
            manager=cast(Any, None),
        )
        server = GatewayServer(
            build(core, Rules("127.0.0.1"), BODY_LIMIT_BYTES), [listener], 1, Connections(PLACES, CLIENT_STALL_SECONDS)
        )
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run())
            try:
                async with httpx.AsyncClient(base_url=address, timeout=20) as http:
                    yield Gateway(address, inference, registry, http, server)
            finally:
                server.end()
