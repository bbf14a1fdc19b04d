"""Compressed bodies: unpacked within the bound, or refused with what is wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from backports import zstd

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.gateway.http.encodings import PIECE_BYTES, Unpacker, _Zlib, _Zstd
from tests.daemon.gateway.scripted import BODY_LIMIT_BYTES, serving

DONE = pb.ChatResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP))
BODY = json.dumps({"model": "m", "stream": False, "messages": [{"role": "user", "content": "hi" * 9000}]}).encode()
HALF = len(BODY) // 2


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("X-GZIP", gzip.compress(BODY[:HALF]) + gzip.compress(BODY[HALF:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("zstd", zstd.compress(BODY)),
        ("zstd", zstd.compress(BODY[:HALF]) + zstd.compress(BODY[HALF:])),
        ("gzip, zstd", zstd.compress(gzip.compress(BODY))),
        ("identity", BODY),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_packed_bodies_are_read(path: str, encoding: str, packed: bytes) -> None:
    """Codex sends zstd."""
    async with serving(DONE) as gateway:
        answer = await gateway.http.post(path, content=packed, headers={"content-encoding": encoding})
    assert answer.status_code == 200, answer.text
    assert gateway.inference.requests[0].messages[0].content == "hi" * 9000


@pytest.mark.parametrize(
    ("encoding", "packed", "status", "words"),
    [
        ("gzip", gzip.compress(BODY)[:-9], 400, "ends before"),
        ("zstd", zstd.compress(BODY)[:-9], 400, "ends before"),
        ("gzip", b"", 400, "ends before"),
        ("gzip", BODY, 400, "not valid gzip"),
        ("zstd", BODY, 400, "not valid zstd"),
        ("deflate", b"\xff" * 99, 400, "not valid deflate"),
        ("gzip", gzip.compress(BODY) + b"more", 400, "not valid gzip"),
        ("gzip", gzip.compress(b" " * (BODY_LIMIT_BYTES + 1)), 413, "send less"),
        ("zstd", zstd.compress(b" " * (BODY_LIMIT_BYTES * 99)), 413, "send less"),
        ("br", BODY, 415, "gzip, deflate, zstd"),
        ("gzip, gzip, gzip", BODY, 415, "gzip, deflate, zstd"),
    ],
)
async def test_what_cannot_be_unpacked(encoding: str, packed: bytes, status: int, words: str) -> None:
    async with serving(DONE) as gateway:
        answer = await gateway.http.post("/api/chat", content=packed, headers={"content-encoding": encoding})
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    assert ("accept-encoding" in answer.headers) == (status == 415)


@pytest.mark.parametrize(
    ("unpacker", "packed"),
    [
        (lambda: _Zlib(gzip=True), gzip.compress(b"x" * (64 << 20))),
        (_Zstd, zstd.compress(b"x" * (64 << 20))),
    ],
)
def test_a_small_body_that_becomes_large_comes_in_small_pieces(unpacker: Callable[[], Unpacker], packed: bytes) -> None:
    assert len(packed) < 1 << 17
    sizes = [len(piece) for piece in unpacker().unpacked(packed)]
    assert max(sizes) <= PIECE_BYTES and sum(sizes) == 64 << 20
