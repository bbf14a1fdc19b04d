"""HTTP from unusual clients: old, slow, offering upgrades, or sending odd framing."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

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


POST = b"POST /api/chat HTTP/1.1\r\nHost: localhost"
JAVA = (
    b"POST /api/chat HTTP/1.1",
    b"Connection: Upgrade, HTTP2-Settings",
    LENGTH,
    b"Host: localhost",
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    b"Upgrade: h2c",
    b"User-Agent: Java-http-client/21.0.2",
    b"Content-Type: application/json",
)
CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: x\r\n\r\n" % (7, BODY[:7], len(BODY) - 7, BODY[7:])


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (JAVA, BODY),
        ((POST, b"Connection: keep-alive, Upgrade", b"Upgrade: foo/2, bar", LENGTH), BODY),
        ((POST, b"Connection: Upgrade", b"Upgrade: websocket", LENGTH), BODY),
        ((POST, b"Upgrade: h2c", LENGTH), BODY),
        ((POST, b"Connection: upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked"), CHUNKED),
        ((POST, b"Transfer-Encoding: chunked"), CHUNKED),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_offer_to_upgrade_is_passed_over(lines: tuple[bytes, ...], body: bytes, at_once: bool) -> None:
    """Java's HttpClient offers h2c with every first request, and its body was lost: 400."""
    async with serving(*SCRIPT) as gateway:
        last = head(b"GET / HTTP/1.1", b"Host: localhost", b"Connection: close")
        pieces = [head(*lines), body, last]
        told, answer = await answered(gateway, *([b"".join(pieces)] if at_once else pieces))
    assert told.startswith(b"HTTP/1.1 200") and b"upgrade" not in told.lower(), told
    assert answer.count(b'"done"') == 3 and answer.endswith(b"Ollama is running"), "the connection goes on"
    assert gateway.inference.requests[0].messages[0].content == "hi"


async def test_an_offer_byte_by_byte_that_closes() -> None:
    async with serving(*SCRIPT) as gateway:
        request = head(JAVA[0], b"Connection: close, Upgrade, HTTP2-Settings", *JAVA[2:]) + BODY
        told, answer = await answered(gateway, *(bytes([byte]) for byte in request))
    assert told.startswith(b"HTTP/1.1 200") and answer.count(b'"done"') == 3


async def test_a_get_may_offer_too() -> None:
    async with serving() as gateway:
        lines = (b"Connection: Upgrade, HTTP2-Settings", *JAVA[3:6])
        told, answer = await answered(
            gateway, head(b"GET / HTTP/1.1", *lines), head(b"GET / HTTP/1.1", b"Host: localhost", b"Connection: close")
        )
    assert told.startswith(b"HTTP/1.1 200") and answer.count(b"Ollama is running") == 2


@pytest.mark.parametrize("size", [100, 1])
async def test_http_2_without_an_offer_is_refused_in_words(size: int) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00"
    async with serving() as gateway:
        pieces = [preface[place : place + size] for place in range(0, len(preface), size)]
        told, answer = await answered(gateway, *pieces)
    assert told.startswith(b"HTTP/1.1 505") and b"HTTP/1.1 and not HTTP/2" in answer


CLOSE = b"Connection: close"


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        ((b"POST /api/chat HTTP/1.1", LENGTH, b"Expect: 100-continue"), BODY, 100),
        ((b"POST http://localhost/api/chat HTTP/1.1", LENGTH), BODY, 200),
        ((b"POST /api/%63hat HTTP/1.1", LENGTH), BODY, 200),
        ((b"POST /api/chat?x=%ff HTTP/1.1", LENGTH), BODY, 200),
        ((b"POST //api/chat HTTP/1.1", LENGTH), BODY, 200),
        ((b"POST /api/chat%00 HTTP/1.1", LENGTH), BODY, 404),
        ((b"POST /api/%ff HTTP/1.1", LENGTH), BODY, 404),
        ((b"POST http://localhost HTTP/1.1", LENGTH), BODY, 400),
        ((b"POST /api/chat HTTP/1.1", b"Content-Length: 0"), b"", 400),
        ((b"POST /api/chat HTTP/1.1",), b"", 400),
        ((b"POST /api/chat HTTP/1.1", LENGTH, b"Transfer-Encoding: chunked"), CHUNKED, 400),
        ((b"POST /api/chat HTTP/1.1", LENGTH, LENGTH), BODY, 400),
        ((b"POST /api/chat HTTP/1.1", b"Transfer-Encoding: chunked"), b"zz\r\n", 400),
        ((b"HEAD / HTTP/1.1",), b"", 200),
        ((b"HEAD /api/chat HTTP/1.1",), b"", 405),
        ((b"OPTIONS /api/chat HTTP/1.1",), b"", 204),
        ((b"OPTIONS * HTTP/1.1",), b"", 204),
        ((b"CONNECT localhost:80 HTTP/1.1",), b"", 400),
        ((b"TRACE / HTTP/1.1",), b"", 405),
        ((b"POST /api/chat HTTP/3.7", LENGTH), BODY, 400),
    ],
)
async def test_what_clients_of_all_kinds_send(lines: tuple[bytes, ...], body: bytes, status: int) -> None:
    """An answer that a client understands, and never a 500 or silence."""
    async with serving(*SCRIPT) as gateway:
        told, answer = await answered(gateway, head(*lines, b"Host: localhost", CLOSE), body)
        assert (await gateway.http.get("/api/version")).status_code == 200
    assert told.startswith(b"HTTP/1.1 %d" % status), told + answer
    if status == 100:
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_half_a_surrogate_pair_is_no_reason_to_refuse(path: str) -> None:
    """A JavaScript client cuts a text in the middle of an emoji; Ollama and OpenAI take it."""
    text = rb"cut \ud83d"
    body = b'{"model": "m", "max_tokens": 9, "stream": false, "messages": [{"role": "user", "content": "%b"}], ' % text
    schema = b'{"type": "object", "properties": {"%b": {}}}' % text
    if path == "/v1/messages":
        body += b'"tools": [{"name": "f", "input_schema": %b}]}' % schema
    else:
        body += b'"tools": [{"type": "function", "function": {"name": "f", "parameters": %b}}]}' % schema
    async with serving(*SCRIPT) as gateway:
        answer = await gateway.http.post(path, content=body)
    assert answer.status_code == 200, answer.text
    [asked] = gateway.inference.requests
    assert asked.messages[-1].content == "cut \ufffd"
    assert "cut \ufffd" in json.dumps(asked.tools, ensure_ascii=False)


async def test_a_client_that_leaves_within_its_body_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving() as gateway:
        url = urlsplit(gateway.address)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(head(b"POST /api/chat HTTP/1.1", b"Host: localhost", LENGTH) + BODY[:9])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        for _ in range(3):
            assert (await gateway.http.get("/api/version")).status_code == 200
    told = capsys.readouterr().out
    assert "defect" not in told and "ClientGone" in told
