"""The `openai` package from PyPI."""

from __future__ import annotations

import json

import openai
import pytest
from pydantic import BaseModel

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
    WEATHER_SCHEMA,
    WEATHER_TOOL,
    is_person,
)


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=0)


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=FACT, temperature=0, reasoning_effort="none")
    assert FACT_ANSWER in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=FACT, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert FACT_ANSWER in text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert not chunks[-1].choices and chunks[-1].usage and chunks[-1].usage.completion_tokens


def test_thinking(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=SUM, temperature=0, reasoning_effort="high")
    message = answer.choices[0].message
    assert SUM_ANSWER in (message.content or "") and getattr(message, "reasoning", None)


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, stream: bool) -> None:
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=WEATHER, tools=[OPENAI_TOOL], temperature=0) as s:
            answer = s.get_final_completion()
    else:
        answer = client.chat.completions.create(model=MODEL, messages=WEATHER, tools=[OPENAI_TOOL], temperature=0)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.function.name == WEATHER_TOOL and json.loads(call.function.arguments) == {"city": "Paris"}
    history = [
        *WEATHER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": WEATHER_TOOL, "arguments": '{"city":"Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'},
    ]
    told = client.chat.completions.create(model=MODEL, messages=history, tools=[OPENAI_TOOL], temperature=0)
    assert "21" in (told.choices[0].message.content or "")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": WEATHER_TOOL}}])
def test_a_tool_call_can_be_required(client: openai.OpenAI, choice: str | dict[str, object]) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=FACT, tools=[OPENAI_TOOL], tool_choice=choice, temperature=0
    )
    assert [c.function.name for c in answer.choices[0].message.tool_calls or ()] == [WEATHER_TOOL]


def test_schemas(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=PERSON,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON_SCHEMA}},
    )
    assert is_person(answer.choices[0].message.content or "")
    parsed = client.chat.completions.parse(model=MODEL, messages=PERSON, temperature=0, response_format=Person)
    assert isinstance(parsed.choices[0].message.parsed, Person)
    free = client.chat.completions.create(
        model=MODEL, messages=PERSON, temperature=0, max_tokens=200, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(free.choices[0].message.content or ""), dict)


def test_several_answers_stop_logprobs_and_limits(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=FACT, n=2, seed=7, logprobs=True, top_logprobs=2)
    assert [c.index for c in answer.choices] == [0, 1]
    assert all(c.logprobs and c.logprobs.content for c in answer.choices)
    short = client.chat.completions.create(model=MODEL, messages=FACT, temperature=0, max_completion_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert short.usage and short.usage.completion_tokens == 2
    cut = client.chat.completions.create(model=MODEL, messages=FACT, temperature=0, stop=["Paris"])
    assert FACT_ANSWER not in (cut.choices[0].message.content or "")


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="one two", max_tokens=4, echo=True, logprobs=2)
    assert answer.choices[0].text.startswith("one two") and answer.choices[0].logprobs
    chunks = list(client.completions.create(model=MODEL, prompt="one two", max_tokens=4, temperature=0, stream=True))
    assert "".join(c.choices[0].text for c in chunks if c.choices)
    assert client.completions.create(model=MODEL, prompt="a ", suffix=" c", max_tokens=4).choices[0].finish_reason


def test_embeddings(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model=MODEL, input=["the sky", "the sea"])
    plain = client.embeddings.create(model=MODEL, input=["the sky", "the sea"], encoding_format="float")
    assert len(packed.data) == 2
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, rel=1e-6)
    assert len(client.embeddings.create(model=MODEL, input="x", dimensions=32).data[0].embedding) == 32


def test_models(client: openai.OpenAI) -> None:
    assert f"{MODEL}:latest" in {m.id for m in client.models.list()}
    assert client.models.retrieve(f"{MODEL}:latest").id == f"{MODEL}:latest"


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input=FACT[0]["content"], temperature=0)
    assert FACT_ANSWER in answer.output_text and answer.status == "completed"
    events = list(client.responses.create(model=MODEL, input=FACT[0]["content"], temperature=0, stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert FACT_ANSWER in "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert [e.sequence_number for e in events] == list(range(len(events)))
    tool = {"type": "function", "name": WEATHER_TOOL, "parameters": WEATHER_SCHEMA, "strict": False}
    called = client.responses.create(model=MODEL, input=WEATHER[0]["content"], tools=[tool], temperature=0)
    [call] = [item for item in called.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Paris"}
    with client.responses.stream(model=MODEL, input=PERSON[0]["content"], text_format=Person, temperature=0) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Person)


async def test_the_asynchronous_client(address: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", timeout=120) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=FACT, temperature=0, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert FACT_ANSWER in text


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=FACT)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=FACT, temperature=-3)
