"""One request must not hurt others: what a client sends, while other calls and the event loop itself are timed.

The gateway, the core and a worker's process are real; the worker has no model.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from hypura_daemon.gateway.app import build
from hypura_daemon.gateway.core import Core
from hypura_daemon.gateway.guard import Rules
from hypura_daemon.gateway.server import GatewayServer
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


@asynccontextmanager
async def running() -> AsyncIterator[Daemon]:
    """A daemon in this event loop; `pauses` are the loop's, in seconds, from the first chat on."""
    async with test_inference.serving() as served:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            core = Core(
                inference=served.inference,
                registry=cast(Any, test_inference.Shelf()),
                supervisor=served.supervisor,
                settings=cast(Any, None),
                shop=cast(Any, None),
            )
            server = GatewayServer(build(core, Rules("127.0.0.1"), BODY_LIMIT_BYTES), [listener], 1)
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
        began = time.monotonic()
        await asyncio.sleep(0.005)
        pauses.append(time.monotonic() - began)


async def test_slow_chat_templates_hold_up_neither_other_calls_nor_other_chats() -> None:
    """Seen: six of them held all threads of the default executor, and an unrelated call waited 4.7 s."""
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
