"""HTTP as it comes over the wire from clients that are not the usual ones."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from hypura.v1 import inference_pb2 as pb
from tests.daemon.gateway.scripted import BODY_LIMIT_BYTES, Gateway, serving

SCRIPT = (
    pb.ChatResponse(chunk=pb.TokenChunk(text="a", token_ids=[1])),
    pb.ChatResponse(chunk=pb.TokenChunk(text="b", token_ids=[2])),
    pb.ChatResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)),
)
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
LENGTH = b"Content-Length: %d" % len(BODY)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


async def answered(gateway: Gateway, *pieces: bytes) -> tuple[bytes, bytes]:
    """Head and body of what comes until the gateway closes the connection."""
    url = urlsplit(gateway.address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    told, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return told, body


async def test_a_stream_to_an_old_client_has_no_chunks_and_ends_with_the_connection() -> None:
    """uvicorn frames every stream in chunks, and an HTTP/1.0 client takes their lengths for lines of the answer."""
    async with serving(*SCRIPT) as gateway:
        told, body = await answered(gateway, head(b"POST /api/chat HTTP/1.0", LENGTH), BODY)
    assert told.startswith(b"HTTP/1.1 200") and b"transfer-encoding" not in told
    assert [json.loads(line)["done"] for line in body.splitlines()] == [False, False, True]


async def test_an_old_client_need_not_say_its_host() -> None:
    async with serving() as gateway:
        told, body = await answered(gateway, head(b"GET / HTTP/1.0"))
        assert told.startswith(b"HTTP/1.1 200") and body == b"Ollama is running"
        told, _ = await answered(gateway, head(b"GET / HTTP/1.1", b"Connection: close"))
        assert told.startswith(b"HTTP/1.1 400"), "RFC 9112, 3.2"


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving(*SCRIPT) as gateway:
        request = head(b"POST /api/chat HTTP/1.1", b"Host: localhost", b"Connection: close", LENGTH) + BODY
        told, body = await answered(gateway, *(bytes([byte]) for byte in request))
    assert told.startswith(b"HTTP/1.1 200") and body.count(b'"done"') == 3


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with serving(*SCRIPT) as gateway:
        chat = head(b"POST /api/chat HTTP/1.1", b"Host: localhost", LENGTH) + BODY
        last = head(b"GET / HTTP/1.1", b"Host: localhost", b"Connection: close")
        _, told = await answered(gateway, chat + chat + last)
    assert told.count(b'"done": true') == 2 and told.endswith(b"Ollama is running")


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    async with serving() as gateway:
        length = b"Content-Length: %d" % (BODY_LIMIT_BYTES + 1)
        lines = (b"POST /api/chat HTTP/1.1", b"Host: localhost", b"Connection: close", length)
        told, body = await answered(gateway, head(*lines))
    assert told.startswith(b"HTTP/1.1 413") and b"send less" in body
