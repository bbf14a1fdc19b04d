"""Anthropic's routes over HTTP, the core scripted."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import httpx
import pytest

from hypura_daemon.errors import InvalidRequest, ModelNotFound, ServerBusy, WorkerDied, WorkerFailed
from tests.daemon.gateway.events import calls, data_of, ends, prefill, says, thinks
from tests.daemon.gateway.scripted import STUCK, serving

HI = [{"role": "user", "content": "hi"}]
ASKED = {"model": "m", "max_tokens": 5, "messages": HI}


async def test_messages() -> None:
    async with serving(prefill(1, 5), thinks("hm"), says("Hé"), ends(5, 9)) as gateway:
        headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "made-up-2099"}
        answer = await gateway.http.post("/v1/messages?beta=true", json=ASKED, headers=headers)
        assert answer.status_code == 200 and answer.headers["request-id"].startswith("req_")
        assert [block["type"] for block in answer.json()["content"]] == ["thinking", "text"]
        stream = await gateway.http.post("/v1/messages", json={**ASKED, "stream": True})
        assert stream.headers["content-type"].startswith("text/event-stream") and stream.headers["request-id"]
        told = [event["type"] for event in data_of(stream.content)]
        assert told[:2] == ["message_start", "ping"] and told[-1] == "message_stop"


async def test_count_tokens() -> None:
    async with serving() as gateway:
        answer = await gateway.http.post("/v1/messages/count_tokens", json={"model": "m", "messages": HI})
        assert answer.json() == {"input_tokens": 42}


ERRORS = (
    (ModelNotFound("model 'm' not found"), 404, "not_found_error"),
    (InvalidRequest("wrong"), 400, "invalid_request_error"),
    (ServerBusy("busy"), 503, "overloaded_error"),
    (WorkerFailed("broken"), 500, "api_error"),
    (ZeroDivisionError("secret"), 500, "api_error"),
)


async def test_an_error_before_the_answer_is_a_status() -> None:
    async with serving() as gateway:
        for (error, status, kind), stream in itertools.product(ERRORS, (False, True)):
            gateway.inference.script = (error,)
            answer = await gateway.http.post("/v1/messages", json={**ASKED, "stream": stream})
            body = answer.json()
            assert (answer.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
            assert body["request_id"] == answer.headers["request-id"] and "secret" not in answer.text


async def test_an_error_within_a_stream_is_an_event() -> None:
    async with serving(says("a"), WorkerDied("the worker died")) as gateway:
        answer = await gateway.http.post("/v1/messages", json={**ASKED, "stream": True})
    last = data_of(answer.content)[-1]
    assert "event: error\n" in answer.text and last["error"] == {
        "type": "overloaded_error",
        "message": "the worker died",
    }
    assert last["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    "fields",
    [{"max_tokens": None}, {"messages": []}, {"messages": [{"role": "user", "content": [{"type": "image"}]}]}],
)
async def test_wrong_requests_are_refused_in_anthropics_shape(fields: dict[str, Any]) -> None:
    async with serving(ends()) as gateway:
        answer = await gateway.http.post("/v1/messages", json={**ASKED, **fields})
    assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_ends_its_answer(stream: bool) -> None:
    async with serving(prefill(1, 5), STUCK) as gateway:
        with pytest.raises(httpx.ReadTimeout):
            await gateway.http.post("/v1/messages", json={**ASKED, "stream": stream}, timeout=0.2)
        await gateway.inference.idle.wait()


@pytest.mark.clients
async def test_the_real_client() -> None:
    anthropic = importlib.import_module("anthropic")
    script = (prefill(1, 5), thinks("hm"), says("Hé"), calls(1, "f", {"a": 1}), ends(5, 9))
    async with serving(*script) as gateway:
        client = anthropic.AsyncAnthropic(base_url=gateway.address, api_key="none", max_retries=0)
        async with client, client.messages.stream(**ASKED) as stream:
            final = await stream.get_final_message()
            whole = await client.messages.create(**ASKED)
            counted = await client.messages.count_tokens(model="m", messages=HI)
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert final.content[2].input == {"a": 1} and (final.usage.input_tokens, final.usage.output_tokens) == (5, 9)
    for one, other in zip(final.content, whole.content, strict=True):
        assert one.model_dump(exclude={"parsed_output"}) == other.model_dump()
    assert final.stop_reason == whole.stop_reason == "tool_use" and counted.input_tokens == 42
