"""The `anthropic` package from PyPI."""

from __future__ import annotations

import anthropic
import httpx
import pytest

from tests.compatibility.conftest import MODEL
from tests.compatibility.questions import (
    FACT,
    FACT_ANSWER,
    SUM,
    SUM_ANSWER,
    WEATHER,
    WEATHER_SCHEMA,
    WEATHER_TOOL,
)

TOOL = {"name": WEATHER_TOOL, "description": "Get the current weather for a city", "input_schema": WEATHER_SCHEMA}
GREEDY = {"temperature": 0}
"""The package no longer has a parameter for it; servers that take it do."""
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def client(address: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=address, api_key="none", timeout=120, max_retries=0)


def test_messages(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model=MODEL, max_tokens=200, messages=FACT, extra_body=GREEDY)
    assert FACT_ANSWER in answer.content[0].text
    assert answer.stop_reason == "end_turn" and answer.usage.input_tokens and answer.usage.output_tokens
    counted = client.messages.count_tokens(model=MODEL, messages=FACT)
    assert counted.input_tokens == answer.usage.input_tokens


def test_messages_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=200, messages=FACT, extra_body=GREEDY) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert FACT_ANSWER in text and final.stop_reason == "end_turn" and final.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_a_block_of_its_own(client: anthropic.Anthropic, stream: bool) -> None:
    asked = {"model": MODEL, "max_tokens": 2000, "messages": SUM, "thinking": THINKING, "extra_body": GREEDY}
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking and SUM_ANSWER in answer.content[1].text


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: anthropic.Anthropic, stream: bool) -> None:
    asked = {"model": MODEL, "max_tokens": 200, "messages": WEATHER, "tools": [TOOL], "extra_body": GREEDY}
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert answer.stop_reason == "tool_use"
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == WEATHER_TOOL and call.input == {"city": "Paris"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'}
    history = [
        *WEATHER,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": [result]},
    ]
    told = client.messages.create(model=MODEL, max_tokens=200, messages=history, tools=[TOOL], extra_body=GREEDY)
    assert "21" in told.content[0].text


def test_a_tool_call_can_be_required(client: anthropic.Anthropic) -> None:
    for choice in ({"type": "any"}, {"type": "tool", "name": WEATHER_TOOL}):
        answer = client.messages.create(
            model=MODEL, max_tokens=200, messages=FACT, tools=[TOOL], tool_choice=choice, extra_body=GREEDY
        )
        assert answer.stop_reason == "tool_use"


def test_system_stop_sequences_and_limits(client: anthropic.Anthropic) -> None:
    cut = client.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=FACT,
        system="You are helpful.",
        stop_sequences=["Paris"],
        extra_body=GREEDY,
    )
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == "Paris"
    assert not any(FACT_ANSWER in block.text for block in cut.content)
    short = client.messages.create(model=MODEL, max_tokens=2, messages=FACT, extra_body=GREEDY)
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 2


async def test_the_asynchronous_client(address: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=address, api_key="none", timeout=120) as client:
        answer = await client.messages.create(model=MODEL, max_tokens=200, messages=FACT, extra_body=GREEDY)
    assert FACT_ANSWER in answer.content[0].text


def test_errors_have_their_classes(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nobody", max_tokens=5, messages=FACT)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=MODEL, max_tokens=5, messages=FACT, extra_body={"temperature": 3})
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": [image]}])


def test_a_stream_tells_the_prompts_length_first(client: anthropic.Anthropic) -> None:
    """Also of a prompt whose tokens are all in memory: programs for coding add the usage of message_start up."""
    for _ in range(2):
        with client.messages.create(model=MODEL, max_tokens=4, messages=FACT, stream=True) as events:
            started = next(iter(events))
            assert started.type == "message_start" and started.message.usage.input_tokens > 0


def test_a_model_that_cannot_think_answers_without(client: anthropic.Anthropic, address: str) -> None:
    """Programs for coding ask for thinking whatever the model; Ollama answers them, and so must this."""
    made = {"model": "thoughtless", "from": MODEL, "template": "{{ .Prompt }}", "stream": False}
    httpx.post(f"{address}/api/create", json=made, timeout=60).raise_for_status()
    answer = client.messages.create(model="thoughtless", max_tokens=4, messages=FACT, thinking=THINKING)
    assert answer.stop_reason in ("end_turn", "max_tokens") and {block.type for block in answer.content} <= {"text"}
    httpx.request("DELETE", f"{address}/api/delete", json={"model": "thoughtless"}).raise_for_status()
