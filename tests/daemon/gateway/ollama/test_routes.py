"""Ollama's answers, line by line, over a core that answers as the test says."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.errors import InvalidRequest, ServerBusy, WorkerDied
from hypura_daemon.gateway.ollama.requests import keep_alive_seconds
from tests.daemon.gateway.scripted import STUCK, Gateway, serving

MESSAGES = [{"role": "user", "content": "hi"}]


def chunk(text: str = "", thinking: str = "", tokens: int = 1) -> pb.ChatResponse:
    ids = range(7, 7 + tokens)
    logprobs = [pb.TokenLogprobs(chosen=pb.TokenLogprob(token=text.encode(), logprob=-0.5)) for _ in ids]
    return pb.ChatResponse(chunk=pb.TokenChunk(text=text, thinking=thinking, token_ids=ids, logprobs=logprobs))


def finished(reason: int = pb.FINISH_REASON_STOP) -> pb.ChatResponse:
    statistics = pb.RequestStatistics(prompt_tokens=3, output_tokens=2, prefill_seconds=0.5, decode_seconds=0.25)
    return pb.ChatResponse(
        finished=pb.Finished(reason=reason, statistics=statistics, load_seconds=1.5)  # type: ignore[arg-type]
    )


CALL = pb.ChatResponse(tool_call=pb.ToolCall(id="call_1", name="add", arguments_json='{"a": 1}'))
PREFILL = pb.ChatResponse(prefill=pb.PrefillProgress(processed_tokens=1, prompt_tokens=3))


async def lines(gateway: Gateway, **asked: Any) -> list[dict[str, Any]]:
    answer = await gateway.http.post("/api/chat", json={"model": "m", "messages": MESSAGES} | asked)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_stream_ends_with_its_figures() -> None:
    async with serving(PREFILL, chunk("Hé"), chunk("llo\u2028"), finished()) as gateway:
        told = await lines(gateway)
    assert [line["message"]["content"] for line in told] == ["Hé", "llo\u2028", ""]
    assert [line["done"] for line in told] == [False, False, True]
    assert all(datetime.fromisoformat(line["created_at"]).tzinfo for line in told)
    last = told[-1]
    assert last["done_reason"] == "stop" and last["prompt_eval_count"] == 3 and last["eval_count"] == 2
    durations = {key: value for key, value in last.items() if key.endswith("duration")}
    assert durations.keys() == {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
    assert all(type(value) is int for value in durations.values()), "Go clients cannot read floats"
    assert durations["load_duration"] == 1_500_000_000
    assert "error" not in last and "context" not in last


async def test_whole_answers_are_the_streams_joined() -> None:
    async with serving(chunk(thinking="hm"), chunk("a"), CALL, finished(pb.FINISH_REASON_LENGTH)) as gateway:
        told = await lines(gateway)
        answer = await gateway.http.post("/api/chat", json={"model": "m", "messages": MESSAGES, "stream": False})
    whole = answer.json()
    assert whole["message"]["content"] == "a" and whole["message"]["thinking"] == "hm"
    assert whole["done_reason"] == "length"
    call = {"id": "call_1", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}}
    assert whole["message"]["tool_calls"] == [call] == told[2]["message"]["tool_calls"]
    assert told[0]["message"] == {"role": "assistant", "content": "", "thinking": "hm"}


async def test_logprobs_are_one_a_token() -> None:
    async with serving(chunk("a", tokens=2), chunk("", tokens=1), chunk("b"), finished()) as gateway:
        told = await lines(gateway, logprobs=True)
    assert sum(len(line.get("logprobs", [])) for line in told) == 4
    assert gateway.inference.requests[0].limits.top_logprobs == 0
    assert gateway.inference.requests[0].limits.HasField("top_logprobs")


@pytest.mark.parametrize(("error", "status"), [(InvalidRequest("no"), 400), (ServerBusy("no"), 503)])
async def test_an_error_before_the_first_byte_is_a_status(error: Exception, status: int) -> None:
    async with serving(error) as gateway:
        for stream in (True, False):
            answer = await gateway.http.post("/api/chat", json={"model": "m", "messages": MESSAGES, "stream": stream})
            assert (answer.status_code, answer.json()) == (status, {"error": "no"})


async def test_an_error_after_it_is_the_last_line() -> None:
    async with serving(chunk("a"), WorkerDied("it died")) as gateway:
        told = await lines(gateway)
    assert told[-1] == {"error": "it died"} and told[0]["message"]["content"] == "a"


async def test_a_client_that_hangs_up_ends_the_answer() -> None:
    async with serving(chunk("a"), STUCK) as gateway:
        asked = {"model": "m", "messages": MESSAGES}
        async with gateway.http.stream("POST", "/api/chat", json=asked) as answer:
            await anext(answer.aiter_lines())
        await gateway.inference.idle.wait()
        assert gateway.inference.running == 0
    async with serving(STUCK) as gateway:
        with pytest.raises(httpx.ReadTimeout):
            await gateway.http.post("/api/chat", json=asked | {"stream": False}, timeout=0.3)
        await gateway.inference.idle.wait()


async def test_the_request_reaches_the_core() -> None:
    asked = {
        "options": {"temperature": 0, "num_predict": 5, "num_ctx": 2048.0, "stop": "x", "seed": 7, "who": 1},
        "keep_alive": "10m",
        "think": "high",
        "format": {"type": "object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_name": "f", "content": "1"},
        ],
    }
    async with serving(finished()) as gateway:
        await lines(gateway, **asked)
    request = gateway.inference.requests[0]
    assert request.sampling.temperature == 0 and request.sampling.HasField("temperature")
    assert request.sampling.seed == 7 and not request.sampling.HasField("top_p")
    assert request.limits.max_tokens == 5 and list(request.limits.stop) == ["x"]
    assert json.loads(request.limits.json_schema) == {"type": "object"}
    assert request.use.context_tokens == 2048 and request.use.keep_alive_seconds == 600
    assert request.think and request.think_level == "high"
    assert request.messages[0].tool_calls[0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert request.messages[1].tool_name == "f"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (300, 300.0), ("5m", 300.0), ("1h30m", 5400.0), (-5, -1.0), ("-1s", -1.0), (0, 0.0)],
)
def test_keep_alive(given: int | str | None, seconds: float | None) -> None:
    assert keep_alive_seconds(given) == seconds


def test_a_bare_number_in_quotes_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="keep_alive"):
        keep_alive_seconds("300")


async def test_vectors_are_one_body_though_they_are_written_one_by_one() -> None:
    async with serving() as gateway:
        answer = await gateway.http.post("/api/embed", json={"model": 'a"[]', "input": ["x", "y"]})
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert (body["model"], body["embeddings"], body["prompt_eval_count"]) == ('a"[]', [[1.0, 0.5]] * 2, 3)
        assert set(body) == {"model", "embeddings", "prompt_eval_count", "total_duration", "load_duration"}
        openai = await gateway.http.post("/v1/embeddings", json={"model": "[]", "input": ["x", "y"]})
        assert [item["embedding"] for item in openai.json()["data"]] == [[1.0, 0.5]] * 2
        assert openai.json()["model"] == "[]" and openai.headers["content-type"] == "application/json"
