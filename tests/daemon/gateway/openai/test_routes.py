"""OpenAI's routes over HTTP, the core scripted."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from hypura_daemon.errors import InvalidRequest, ModelNotFound, ServerBusy, WorkerDied
from tests.daemon.gateway.events import calls, data_of, ends, prefill, says, thinks
from tests.daemon.gateway.scripted import BODY_LIMIT_BYTES, STUCK, serving
from tests.daemon.models.files import write_model

HI = [{"role": "user", "content": "hi"}]
CHAT: dict[str, object] = {"model": "m", "messages": HI}
REQUESTS: dict[str, dict[str, object]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "m", "prompt": "hi"},
    "/v1/responses": {"model": "m", "input": "hi"},
}


async def test_chat() -> None:
    async with serving(prefill(1, 5), thinks("hm"), says("Hé"), ends()) as gateway:
        answer = await gateway.http.post("/v1/chat/completions", json={**CHAT, "n": 2})
        assert answer.status_code == 200 and answer.headers["x-request-id"].startswith("req_")
        assert [choice["message"]["content"] for choice in answer.json()["choices"]] == ["Hé", "Hé"]
        assert answer.json()["usage"]["completion_tokens"] == 6
        stream = await gateway.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert stream.headers["content-type"].startswith("text/event-stream") and stream.headers["x-request-id"]
        assert ": prompt 1 of 5 tokens\n\n" in stream.text and stream.text.endswith("data: [DONE]\n\n")
        told = data_of(stream.content)
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in told) == "Hé"


async def test_completions_and_embeddings() -> None:
    async with serving(says("b"), ends()) as gateway:
        answer = await gateway.http.post("/v1/completions", json={"model": "m", "prompt": ["a", "x"], "echo": True})
        assert [choice["text"] for choice in answer.json()["choices"]] == ["ab", "xb"]
        vectors = await gateway.http.post("/v1/embeddings", json={"model": "m", "input": "a"})
        assert vectors.json()["data"][0]["embedding"] == [1.0, 0.5]


async def test_models_with_slashes_and_colons(tmp_path: Path) -> None:
    async with serving() as gateway:
        gateway.registry.add(write_model(tmp_path / "a.gguf"), "hf.co/some/model:Q4_K_M")
        listed = (await gateway.http.get("/v1/models")).json()
        assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == ["hf.co/some/model:Q4_K_M"]
        one = await gateway.http.get("/v1/models/hf.co/some/model:Q4_K_M")
        assert one.json() == listed["data"][0] and one.json()["object"] == "model"
        missing = await gateway.http.get("/v1/models/nobody")
        assert missing.status_code == 404 and missing.json()["error"]["type"] == "not_found_error"


ERRORS = (
    (ModelNotFound("model 'm' not found"), 404, "not_found_error"),
    (InvalidRequest("wrong"), 400, "invalid_request_error"),
    (ServerBusy("busy"), 503, "api_error"),
    (ZeroDivisionError("secret"), 500, "api_error"),
)


@pytest.mark.parametrize("path", REQUESTS)
async def test_an_error_before_the_answer_is_a_status(path: str) -> None:
    """Clients retry, or not, by the status: an error inside a 200 is neither."""
    async with serving() as gateway:
        for (error, status, kind), stream in itertools.product(ERRORS, (False, True)):
            gateway.inference.script = (error,)
            answer = await gateway.http.post(path, json={**REQUESTS[path], "stream": stream})
            assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
            assert list(answer.json()["error"]) == ["message", "type", "param", "code"] and "secret" not in answer.text


async def test_an_error_within_a_stream_is_its_last_event() -> None:
    """Ollama ends such a stream as if it were whole."""
    async with serving(says("a"), WorkerDied("the worker died")) as gateway:
        for path in ("/v1/chat/completions", "/v1/completions"):
            answer = await gateway.http.post(path, json={**REQUESTS[path], "stream": True})
            assert data_of(answer.content)[-1]["error"]["message"] == "the worker died"
            assert "[DONE]" not in answer.text
        answer = await gateway.http.post("/v1/responses", json={**REQUESTS["/v1/responses"], "stream": True})
        last = data_of(answer.content)[-1]
        assert last["type"] == "response.failed" and last["response"]["error"]["message"] == "the worker died"


WRONG = (
    ("/v1/chat/completions", b"", 400),
    ("/v1/chat/completions", b"{", 400),
    ("/v1/chat/completions", b"[]", 400),
    ("/v1/chat/completions", b'{"model": "m"}', 400),
    ("/v1/chat/completions", b'{"model": "m", "messages": "hi"}', 400),
    ("/v1/completions", b'{"model": 1}', 400),
    ("/v1/embeddings", b'{"model": "m", "input": null}', 400),
    ("/v1/embeddings", b'{"model": "m", "input": "x", "encoding_format": "hex"}', 400),
    ("/v1/responses", b'{"model": "m"}', 400),
    ("/v1/nothing", b"{}", 404),
    ("/v1/chat/completions", b'"' + b"x" * BODY_LIMIT_BYTES + b'"', 413),
)


async def test_wrong_requests_are_refused_in_openais_shape() -> None:
    async with serving(ends()) as gateway:
        for path, body, status in WRONG:
            answer = await gateway.http.post(path, content=body)
            assert answer.status_code == status, (path, body[:80])
            assert list(answer.json()) == ["error"] and answer.json()["error"]["message"]


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("script", [(STUCK,), (prefill(1, 2), STUCK), (says("a"), STUCK)])
@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream": True, "n": 3}])
async def test_a_client_that_hangs_up_ends_its_answers(path: str, script: tuple[Any, ...], fields: Any) -> None:
    async with serving(*script) as gateway:
        body = json.dumps({**REQUESTS[path], **fields}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        host, port = gateway.address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body)
        await writer.drain()
        await gateway.inference.busy.wait()
        writer.close()
        await gateway.inference.idle.wait()
        assert gateway.inference.running == 0


async def test_responses_follow_each_other() -> None:
    async with serving(thinks("hm"), says("a"), calls(1, "f", {"x": 1}), ends()) as gateway:
        asked: dict[str, Any] = {"model": "m", "input": "hi", "instructions": "i"}
        first = (await gateway.http.post("/v1/responses", json=asked)).json()
        kept = await gateway.http.get(f"/v1/responses/{first['id']}")
        assert kept.json() == first
        item = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        asked = {"model": "m", "input": [item], "previous_response_id": first["id"], "stream": True}
        second = data_of((await gateway.http.post("/v1/responses", json=asked)).content)[-1]["response"]
        messages = gateway.inference.requests[-1].messages
        # The instructions do not carry over; the call does.
        assert [(m.role, m.content) for m in messages] == [("user", "hi"), ("assistant", "a"), ("tool", "42")]
        assert messages[1].tool_calls[0]["function"]["name"] == "f" and messages[1].thinking == "hm"
        third = {"model": "m", "input": "so?", "previous_response_id": second["id"], "store": False}
        unkept = (await gateway.http.post("/v1/responses", json=third)).json()
        assert [m.role for m in gateway.inference.requests[-1].messages] == [
            "user", "assistant", "tool", "assistant", "user",
        ]  # fmt: skip
        assert (await gateway.http.get(f"/v1/responses/{unkept['id']}")).status_code == 404
        gone = await gateway.http.delete(f"/v1/responses/{first['id']}")
        assert gone.json() == {"id": first["id"], "object": "response.deleted", "deleted": True}
        again = await gateway.http.delete(f"/v1/responses/{first['id']}")
        assert again.status_code == 404 and again.json()["error"]["type"] == "not_found_error"
        asked["previous_response_id"] = first["id"]
        refused = await gateway.http.post("/v1/responses", json=asked)
        assert refused.status_code == 400 and first["id"] in refused.json()["error"]["message"]


@pytest.mark.clients
async def test_the_real_client() -> None:
    openai = importlib.import_module("openai")
    script = (prefill(1, 5), thinks("hm"), says("Hé", logprob=-1), calls(1, "f", {"a": 1}), ends())
    async with serving(*script) as gateway:
        client = openai.AsyncOpenAI(base_url=f"{gateway.address}/v1", api_key="none", max_retries=0)
        async with client, client.chat.completions.stream(model="m", messages=HI, logprobs=True) as stream:
            final = (await stream.get_final_completion()).choices[0]
            assert (final.message.content, final.finish_reason) == ("Hé", "tool_calls")
            assert final.message.tool_calls[0].function.arguments == '{"a": 1}'
            assert [token.token for token in final.logprobs.content] == ["Hé"]
            vector = await client.embeddings.create(model="m", input="a")
            assert vector.data[0].embedding == [1.0, 0.5]
            async with client.responses.stream(model="m", input="hi") as events:
                response = await events.get_final_response()
            assert response.output_text == "Hé"
            assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
