"""OpenAI's and Anthropic's routes of a real daemon, with a real worker and a small random model."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc
from tests.daemon.gateway.events import data_of
from tests.daemon.test_app import daemon
from tests.models.writer import write_synthetic_model

HI = [{"role": "user", "content": "w1 w2"}]
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    model, home = tmp_path_factory.mktemp("models") / "tiny.gguf", tmp_path_factory.mktemp("h")
    write_synthetic_model("tiny-dense", model)
    with daemon(home, "--memory", "2GB") as (_, channel):
        control = control_pb2_grpc.ControlServiceStub(channel)
        control.AddModel(control_pb2.AddModelRequest(path=str(model), name="some/tiny:q4"))
        address = control.Status(control_pb2.StatusRequest()).daemon.http_address
        with httpx.Client(base_url=f"http://{address}", timeout=WAIT_SECONDS) as client:
            yield client


def posted(http: httpx.Client, path: str, **asked: Any) -> Any:
    answer = http.post(path, json={"model": "some/tiny:q4", **asked})
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.headers["content-type"] == "application/json" else data_of(answer.content)


def test_equal_seeds_are_equal_answers_and_n_are_different_ones(http: httpx.Client) -> None:
    asked = {"messages": HI, "max_tokens": 8, "seed": 7, "n": 2}
    one, two = (posted(http, "/v1/chat/completions", **asked)["choices"] for _ in range(2))
    texts = [choice["message"]["content"] for choice in one]
    assert texts == [choice["message"]["content"] for choice in two] and texts[0] != texts[1]
    streamed = ["", ""]
    for chunk in posted(http, "/v1/chat/completions", **asked, stream=True):
        [choice] = chunk["choices"]
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == texts


def test_completions_and_embeddings_of_text_and_of_its_tokens_are_equal(http: httpx.Client) -> None:
    told = posted(http, "/v1/completions", prompt="w1", max_tokens=4, temperature=0, logprobs=2, echo=True)
    [choice] = told["choices"]
    assert choice["text"] == "w1" + "".join(choice["logprobs"]["tokens"])
    assert all(len(top) == 2 for top in choice["logprobs"]["top_logprobs"])
    assert posted(http, "/v1/completions", prompt=[5, 6], max_tokens=2)["usage"]["prompt_tokens"] == 2
    floats = posted(http, "/v1/embeddings", input=[[5, 6], [7]])
    assert sum(x * x for x in floats["data"][0]["embedding"]) == pytest.approx(1, abs=1e-4)
    [packed] = posted(http, "/v1/embeddings", input=[5, 6], encoding_format="base64")["data"]
    values = base64.b64decode(packed["embedding"])
    unpacked = struct.unpack(f"<{len(values) // 4}f", values)
    assert unpacked == pytest.approx(floats["data"][0]["embedding"], abs=1e-5)


def test_a_count_is_what_the_answer_then_costs(http: httpx.Client) -> None:
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    for more in ({}, {"system": "w9"}, {"tools": [tool], "tool_choice": {"type": "none"}}):
        counted = http.post("/v1/messages/count_tokens", json={"model": "some/tiny:q4", "messages": HI, **more})
        if counted.status_code == 400:  # The model's template has no tools.
            assert "tools" in counted.json()["error"]["message"]
            continue
        answer = posted(http, "/v1/messages", messages=HI, max_tokens=2, **more)
        assert counted.json()["input_tokens"] == answer["usage"]["input_tokens"]
        assert answer["stop_reason"] == "max_tokens" and answer["usage"]["output_tokens"] == 2


def test_a_prompt_that_is_too_long_is_refused_by_all(http: httpx.Client) -> None:
    """A prompt that is cut without a word gets a wrong answer; a text to embed is cut, as in Ollama."""
    whole = "w1 " * 40_000
    told = posted(http, "/v1/embeddings", input=[whole, "w1"])
    assert len(told["data"]) == 2 and told["usage"]["prompt_tokens"] < 40_000
    long = "w1 " * 40_000
    bodies: dict[str, dict[str, object]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": long}]},
        "/v1/completions": {"prompt": long},
        "/v1/responses": {"input": long},
        "/v1/messages": {"messages": [{"role": "user", "content": long}], "max_tokens": 5},
    }
    for path, body in bodies.items():
        answer = http.post(path, json={"model": "some/tiny:q4", "stream": True, **body})
        words = "prompt is too long: " if path == "/v1/messages" else "maximum context length is "
        assert answer.status_code == 400 and words in answer.json()["error"]["message"], (path, answer.text)


def test_a_client_that_hangs_up_frees_the_model(http: httpx.Client) -> None:
    """The model answers one request after another: the next is answered only if the endless one has ended."""
    endless = {"model": "some/tiny:q4", "messages": HI, "stream": True, "n": 4, "logit_bias": {}}
    with http.stream("POST", "/v1/chat/completions", json=endless) as answer:
        next(answer.iter_lines())
    begun = time.monotonic()
    assert json.loads(http.get("/v1/models/some/tiny:q4").content)["id"] == "some/tiny:q4"
    posted(http, "/v1/chat/completions", messages=HI, max_tokens=2)
    assert time.monotonic() - begun < WAIT_SECONDS / 2
