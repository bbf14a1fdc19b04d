"""The end of the daemon, as clients of every dialect see it: an answer that is cut ends with an error."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import httpx
import pytest

from hypura.v1 import inference_pb2 as pb
from tests.daemon.gateway.scripted import STUCK, Gateway, serving

BEGUN = pb.ChatResponse(chunk=pb.TokenChunk(text="a", token_ids=[1]))
MESSAGES = [{"role": "user", "content": "hi"}]
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "x", "raw": True},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 9},
}


async def streamed(gateway: Gateway, path: str) -> str:
    body = {"model": "m", "stream": True, **ASKED[path]}
    async with gateway.http.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200
        return (await answer.aread()).decode()


@pytest.mark.parametrize("path", ASKED)
async def test_a_stream_beyond_the_grace_ends_with_its_dialects_error(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen: native and Anthropic streams were cut without a word, and uvicorn logged tracebacks."""
    with caplog.at_level(logging.INFO):
        async with serving(BEGUN, STUCK) as gateway:
            asking = asyncio.ensure_future(streamed(gateway, path))
            await gateway.inference.busy.wait()
            gateway.server.end()
            await asyncio.sleep(0.05)
            assert not asking.done(), "the grace is not over"
            began = time.monotonic()
            gateway.server.cut()
            text = await asking
            assert time.monotonic() - began < 10
    last = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))
    message = last["error"] if path.startswith("/api") else last["error"]["message"]
    assert "hypurad has ended" in message, text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ASKED)
async def test_a_whole_answer_is_refused(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(BEGUN, STUCK) as gateway:
            body = {"model": "m", "stream": False, **ASKED[path]}
            asking = asyncio.ensure_future(gateway.http.post(path, json=body))
            await gateway.inference.busy.wait()
            gateway.server.end()
            gateway.server.cut()
            answer = await asking
    assert answer.status_code == 503 and "hypurad has ended" in answer.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("grace_seconds", [None, 0.0])
async def test_the_grace_alone_ends_what_runs(grace_seconds: float | None) -> None:
    async with serving(BEGUN, STUCK) as gateway:  # whose usual grace is one second
        asking = asyncio.ensure_future(streamed(gateway, "/api/chat"))
        await gateway.inference.busy.wait()
        gateway.server.end(grace_seconds)
        assert "hypurad has ended" in await asking


async def test_what_ends_within_the_grace_is_whole_and_nothing_new_is_taken() -> None:
    async with serving(BEGUN) as gateway:
        assert len((await streamed(gateway, "/api/chat")).splitlines()) == 2
        gateway.server.end()
        with pytest.raises(httpx.TransportError):
            for _ in range(200):
                await gateway.http.get("/api/version")
                await asyncio.sleep(0.01)
