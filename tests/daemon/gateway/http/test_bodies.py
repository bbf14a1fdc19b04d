"""Bodies from anywhere: their shape, or an error that says what is wrong and where."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_daemon.errors import HypuraError, InvalidRequest, ServerBusy
from hypura_daemon.gateway.errors import BodyTooLarge
from hypura_daemon.gateway.http import bodies, json_text
from hypura_daemon.gateway.http.bodies import Room, Share, shaped
from hypura_daemon.gateway.http.json_text import Census, read_json
from hypura_daemon.gateway.ollama.requests import (
    ChatRequest,
    GenerateRequest,
    chat_request,
    check_generate,
    prompt_as_chat,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "not valid JSON"),
        (b'{"model": NaN}', "NaN is not JSON"),
        (b'{"x": -Infinity}', "-Infinity is not JSON"),
        (b'{"x": 1e999}', "1e999 is larger than a float"),
        (b'{"x": %b}' % (b"9" * 401), "401 digits"),
        ('{"model": "m"}'.encode("utf-16"), "UTF-16"),
        ('{"model": "m"}'.encode("utf-16-be"), "UTF-16"),
        ('{"model": "Zürich"}'.encode("latin-1"), "not valid UTF-8"),
        (b'{"model": "m"}x', "Extra data"),
        (b"[1]", "an array"),
        (b'"x"', "a string"),
        (b"\xff{}", "UTF-8|not valid JSON"),
        (b'{"model": 5}', "model is 5"),
        (b'{"options": {"temperature": "hot"}}', "options.temperature"),
        (b'{"messages": [{"content": "x"}]}', "messages.0.role is required"),
        (b'{"format": ["a"]}', r'^format is \["a"\]'),
        (b'{"keep_alive": true}', "^keep_alive is true"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_errors_say_what_is_wrong(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        shaped(body, ChatRequest)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"\ud800", "\ufffd"),
        (r"\uDFFF!", "\ufffd!"),
        (r"\ud83d\ude00", "😀"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\n\ud83dx", "\n\ufffdx"),
    ],
)
def test_halves_of_surrogate_pairs_are_replaced_wherever_they_stand(text: str, read: str) -> None:
    """Half a pair is JSON and yet no text: nothing that is made of it could be sent on."""
    value = f'"{text}"'
    body = f'{{"model": {value}, "format": {{{value}: [{value}]}}, "options": {{"stop": [{value}]}}, "messages": [{{'
    body += f'"role": "user", "content": {value}, "tool_calls": [{{"function": {{"name": {value}, "arguments": '
    body += f'{{{value}: {value}}}}}}}]}}], "tools": [{{{value}: {value}}}]}}'
    asked = shaped(body.encode(), ChatRequest)
    assert asked.messages is not None and asked.messages[0].tool_calls is not None and asked.options is not None
    function = asked.messages[0].tool_calls[0].function
    assert [asked.model, asked.messages[0].content, function.name, *(asked.options.stop or ())] == [read] * 4
    assert (function.arguments, asked.tools, asked.format) == ({read: read}, [{read: read}], {read: [read]})
    wanted = chat_request(asked)
    assert json.dumps([wanted.messages[0].tool_calls, wanted.tools], ensure_ascii=False).encode()


def test_a_byte_order_mark_is_passed_over_and_the_last_of_equal_keys_counts() -> None:
    assert shaped(b'\xef\xbb\xbf{"model": "a", "model": "b"}', ChatRequest).model == "b"


PARTS = ["\\\\", '\\"', "\\n", "\\u4e2d", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "ü", "😀", "ab"]


@settings(max_examples=40)
@given(
    st.lists(
        st.sampled_from(["\\\\", '\\"', "\\n", "\\u4e2d", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "ü", "😀", "ab"]),
        max_size=9,
    ),
    st.integers(1, 12),
)
def test_long_strings_are_decoded_in_pieces_as_they_are_at_once(parts: list[str], piece_bytes: int) -> None:
    body = json.dumps({"a": ["x" * 9, {"b": 1}]}).encode()[:-2] + b', "' + "".join(parts).encode() + b'"]}'
    at_once = read_json(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_LARGE_BYTES", 0)
        patch.setattr(json_text, "_LONG_BYTES", 3)
        patch.setattr(json_text, "_PIECE_BYTES", piece_bytes)
        assert read_json(body) == at_once


@given(JSON, st.integers(1, 7))
def test_the_census_counts_what_the_parser_finds(value: object, piece_bytes: int) -> None:
    body, census = json.dumps(value, ensure_ascii=False).encode(errors="replace"), Census()
    for place in range(0, len(body), piece_bytes):
        census.count(body[place : place + piece_bytes])
    assert (census.containers, census.keys) == _counted(value)


def _counted(value: object) -> tuple[int, int]:
    """Containers and keys."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return 0, 0
    below = [_counted(item) for item in inner]
    keys = len(value) if isinstance(value, dict) else 0
    return 1 + sum(count for count, _ in below), keys + sum(count for _, count in below)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" + b"{}," * (1 << 15), "objects and arrays"),
        (b'{"a":' * 9 + b'"a":1,' * (3 << 15), "keys"),
        (b"[" + b"1," * (1 << 19), "values"),
        (b"[" * 300, "nests deeper than 256"),
    ],
)
def test_bodies_beyond_the_bounds_are_refused_while_they_arrive(body: bytes, words: str) -> None:
    """Seen: 102 MB of small messages became 4 GB."""
    census = Census()
    with pytest.raises(HypuraError, match=words):
        for place in range(0, len(body), 1 << 16):
            census.count(body[place : place + (1 << 16)])


@pytest.mark.parametrize(("character", "times"), [("a", 3), ("ü", 5), ("中", 5), ("😀", 8)])
def test_wide_characters_count_for_the_width_that_python_gives_to_their_whole_string(
    character: str, times: int
) -> None:
    census, body = Census(), f'"{"a" * 999}{character}"'.encode()
    census.count(body)
    assert census.memory_bytes == times * len(body)


def test_strings_and_what_is_beside_them_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_STRING_BYTES", 3 << 20)
    monkeypatch.setattr(json_text, "MAX_SHORT_BYTES", 1 << 20)
    assert len(read_json(b'["%b"]' % (b"x" * (2 << 20)))[0]) == 2 << 20
    for body in (b'["%b"]' % (b"x" * (4 << 20)), b"[%b]" % (b" " * (2 << 20))):
        with pytest.raises(BodyTooLarge):
            read_json(body)


async def test_the_bodies_of_all_requests_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ROOM_SECONDS", 0.05)
    room = Room(1000)
    monkeypatch.setattr(bodies, "FREE_BYTES", 100)
    first, second = Share(room, 0), Share(room, 0)
    await first.grow(bodies.FREE_BYTES)
    assert room.taken_bytes == 0, "small bodies are free"
    await first.grow(bodies.FREE_BYTES + 800)
    with pytest.raises(ServerBusy, match="take 800 of 1000 bytes"):
        await second.grow(bodies.FREE_BYTES + 300)
    monkeypatch.setattr(bodies, "ROOM_SECONDS", 10.0)
    waiting = asyncio.ensure_future(second.grow(bodies.FREE_BYTES + 300))
    await asyncio.sleep(0)
    first.give_back()
    await waiting
    assert room.taken_bytes == 300
    second.give_back()
    second.give_back()
    assert room.taken_bytes == 0
    with pytest.raises(BodyTooLarge, match="more than 1000 bytes of memory"):
        await first.grow(1001)


def test_roles_may_be_written_in_any_case() -> None:
    """Ollama reads "User" as "user"."""
    asked = ChatRequest.model_validate({"model": "m", "messages": [{"role": "User", "content": "hi"}]})
    assert chat_request(asked).messages[0].role == "user"


FIELDS = st.sampled_from(
    ["model", "messages", "prompt", "options", "keep_alive", "format", "think", "tools", "stream", "images", "context",
     "template", "system", "suffix", "raw", "logprobs", "top_logprobs", "truncate"]
)  # fmt: skip
OPTIONS = st.dictionaries(
    st.sampled_from(["num_ctx", "num_predict", "seed", "temperature", "top_k", "top_p", "stop", "repeat_last_n", "x"]),
    JSON,
    max_size=4,
)


@given(st.dictionaries(FIELDS, JSON, max_size=6), OPTIONS)
def test_nothing_but_a_typed_error_comes_of_any_json(value: dict[str, object], options: dict[str, object]) -> None:
    body = json.dumps({**value, "options": options}).encode()
    kinds: list[tuple[Any, Any]] = [(ChatRequest, chat_request), (GenerateRequest, prompt_as_chat)]
    for shape, made in kinds:
        try:
            asked = shaped(body, shape)
            if isinstance(asked, GenerateRequest):
                check_generate(asked)
            made(asked)
        except HypuraError:
            pass
