"""The `ollama` package from PyPI: every method that concerns a local server, blocking and asynchronous."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ollama
import pytest

from tests.compatibility.conftest import MODEL
from tests.compatibility.questions import (
    FACT,
    FACT_ANSWER,
    OPENAI_TOOL,
    PERSON,
    PERSON_SCHEMA,
    SUM,
    SUM_ANSWER,
    WEATHER,
    WEATHER_TOOL,
    is_person,
)

GREEDY = {"temperature": 0, "num_predict": 200}


@pytest.fixture
def client(address: str) -> ollama.Client:
    return ollama.Client(address, timeout=120)


@pytest.fixture
def later(address: str) -> ollama.AsyncClient:
    return ollama.AsyncClient(address, timeout=120)


def test_chat(client: ollama.Client) -> None:
    answer = client.chat(MODEL, FACT, think=False, options=GREEDY)
    assert FACT_ANSWER in (answer.message.content or "")
    assert answer.done and answer.done_reason == "stop" and not answer.message.tool_calls
    assert answer.prompt_eval_count and answer.eval_count and answer.eval_duration and answer.total_duration
    assert datetime.fromisoformat(answer.created_at or "").year > 2000


def test_chat_streams_what_it_answers_whole(client: ollama.Client) -> None:
    whole = client.chat(MODEL, FACT, think=False, options=GREEDY)
    parts = list(client.chat(MODEL, FACT, think=False, options=GREEDY, stream=True))
    assert "".join(p.message.content or "" for p in parts) == whole.message.content
    assert [p.done for p in parts].count(True) == 1 and parts[-1].done and len(parts) > 2


def test_thinking_is_kept_apart(client: ollama.Client) -> None:
    answer = client.chat(MODEL, SUM, think=True, options=GREEDY)
    assert answer.message.thinking and SUM_ANSWER in (answer.message.content or "")
    assert "think>" not in answer.message.thinking + (answer.message.content or "")
    streamed = list(client.chat(MODEL, SUM, think=True, options=GREEDY, stream=True))
    assert "".join(p.message.thinking or "" for p in streamed) == answer.message.thinking
    assert not client.chat(MODEL, SUM, think=False, options=GREEDY).message.thinking


def test_tools_are_called_and_their_results_read(client: ollama.Client) -> None:
    answer = client.chat(MODEL, WEATHER, tools=[OPENAI_TOOL], think=False, options=GREEDY)
    assert answer.message.tool_calls and not (answer.message.content or "").strip()
    [call] = answer.message.tool_calls
    assert call.function.name == WEATHER_TOOL and call.function.arguments == {"city": "Paris"}
    result = {"role": "tool", "tool_name": WEATHER_TOOL, "content": '{"temperature": 21, "sky": "sunny"}'}
    told = client.chat(MODEL, [*WEATHER, answer.message, result], tools=[OPENAI_TOOL], think=False, options=GREEDY)
    assert "21" in (told.message.content or "")


def test_a_python_function_is_a_tool(client: ollama.Client) -> None:
    def get_weather(city: str) -> str:
        """Get the current weather for a city.

        Args:
            city: The city
        """
        return f"sunny in {city}"

    parts = list(client.chat(MODEL, WEATHER, tools=[get_weather], think=False, options=GREEDY, stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.name for call in calls] == ["get_weather"]
    assert get_weather(**calls[0].function.arguments) == "sunny in Paris"


@pytest.mark.parametrize("think", [False, True])
def test_a_schema_binds_the_answer(client: ollama.Client, think: bool) -> None:
    answer = client.chat(MODEL, PERSON, format=PERSON_SCHEMA, think=think, options=GREEDY)
    assert is_person(answer.message.content or "")


def test_json_mode(client: ollama.Client) -> None:
    answer = client.generate(MODEL, PERSON[0]["content"], format="json", think=False, options=GREEDY)
    assert isinstance(json.loads(answer.response), dict)


def test_generate(client: ollama.Client) -> None:
    answer = client.generate(MODEL, FACT[0]["content"], think=False, options=GREEDY)
    assert FACT_ANSWER in answer.response and answer.context
    again = client.generate(MODEL, "And of Italy?", context=answer.context, think=False, options=GREEDY)
    assert len(again.context or ()) > len(answer.context)
    parts = list(client.generate(MODEL, FACT[0]["content"], think=False, options=GREEDY, stream=True))
    assert "".join(p.response for p in parts) == answer.response
    raw = client.generate(MODEL, "one two three", raw=True, options={**GREEDY, "num_predict": 5})
    assert raw.eval_count == 5 and raw.done_reason == "length" and not raw.context


def test_fill_in_the_middle(client: ollama.Client) -> None:
    answer = client.generate(MODEL, "The capital of France is ", suffix=". It lies on the Seine.", options=GREEDY)
    assert answer.done and answer.response


def test_logprobs(client: ollama.Client) -> None:
    answer = client.chat(MODEL, FACT, think=False, logprobs=True, top_logprobs=3, options=GREEDY)
    assert answer.logprobs and len(answer.logprobs) == answer.eval_count
    for entry in answer.logprobs:
        assert entry.logprob <= 0 and len(entry.top_logprobs or ()) == 3


def test_embeddings(client: ollama.Client) -> None:
    answer = client.embed(MODEL, ["the sky", "the sea"])
    assert len(answer.embeddings) == 2
    for vector in answer.embeddings:
        assert math.isclose(sum(x * x for x in vector), 1.0, rel_tol=1e-4)
    assert len(client.embed(MODEL, "the sky", dimensions=64).embeddings[0]) == 64
    assert client.embeddings(MODEL, "the sky").embedding


def test_embedding_nothing_loads_the_model(client: ollama.Client) -> None:
    nothing: tuple[str | list[str], ...] = ("", [])
    for empty in nothing:
        client.generate(MODEL, keep_alive=0)
        assert client.embed(MODEL, empty, keep_alive="10m").embeddings == []
        [running] = [m for m in client.ps().models if m.model == f"{MODEL}:latest"]
        assert running.expires_at and running.expires_at > datetime.now(UTC) + timedelta(minutes=8)
    for refused in (lambda: client.embed("nobody", ""), lambda: client.embeddings("nobody", "")):
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            refused()
        assert caught.value.status_code == 404


def test_the_model_is_listed_shown_and_seen_running(client: ollama.Client) -> None:
    [listed] = [m for m in client.list().models if m.model == f"{MODEL}:latest"]
    assert listed.size and len(listed.digest or "") >= 12 and listed.modified_at
    shown = client.show(MODEL)
    assert set(shown.capabilities or ()) == {"completion", "tools", "thinking", "insert"}
    assert shown.modelinfo and shown.template and shown.details and shown.details.family
    client.generate(MODEL, keep_alive="10m")
    [running] = [m for m in client.ps().models if m.model == f"{MODEL}:latest"]
    assert running.expires_at and running.expires_at > datetime.now(UTC) + timedelta(minutes=8)
    assert running.size and running.context_length
    assert client.generate(MODEL, keep_alive=0).done_reason == "unload"
    assert not [m for m in client.ps().models if m.model == f"{MODEL}:latest"]


def test_models_are_made_copied_and_deleted(client: ollama.Client) -> None:
    made = list(
        client.create("terse", from_=MODEL, system="Answer in one word.", parameters={"temperature": 0}, stream=True)
    )
    assert made[-1].status == "success"
    assert "temperature" in (client.show("terse").parameters or "")
    assert client.copy("terse", "terse-too").status == "success"
    assert {"terse:latest", "terse-too:latest"} <= {m.model for m in client.list().models}
    for name in ("terse", "terse-too"):
        assert client.delete(name).status == "success"
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat("terse", FACT)
    assert caught.value.status_code == 404


def test_a_blob_becomes_a_model(client: ollama.Client, tmp_path: Path) -> None:
    from tests.models.writer import write_synthetic_model

    file = tmp_path / "m.gguf"
    write_synthetic_model("tiny-moe", file)
    digest = client.create_blob(file)
    assert client.create("mine", files={"m.gguf": digest}).status == "success"
    assert client.generate("mine", "hello", raw=True, options=GREEDY).eval_count
    client.delete("mine")


def test_what_cannot_be_done_says_so(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="not supported"):
        client.push(MODEL)
    with pytest.raises(ollama.ResponseError) as caught:
        client.pull("localhost:9/nobody/nothing", insecure=True)
    assert caught.value.error
    with pytest.raises(ollama.ResponseError):
        client.chat(MODEL, [{"role": "user", "content": "What is this?", "images": [b"\x89PNG"]}])


async def test_the_asynchronous_client(later: ollama.AsyncClient) -> None:
    answer = await later.chat(MODEL, FACT, think=False, options=GREEDY)
    assert FACT_ANSWER in (answer.message.content or "")
    text = ""
    async for part in await later.generate(MODEL, FACT[0]["content"], think=False, options=GREEDY, stream=True):
        text += part.response
    assert FACT_ANSWER in text
    assert (await later.list()).models and (await later.show(MODEL)).template
    assert len((await later.embed(MODEL, "x")).embeddings) == 1
    called = await later.chat(MODEL, WEATHER, tools=[OPENAI_TOOL], think=False, options=GREEDY)
    assert called.message.tool_calls
    assert (await later.generate(MODEL, keep_alive=0)).done_reason == "unload"
    assert (await later.ps()).models is not None
