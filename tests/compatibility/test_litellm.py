"""litellm, through its `ollama_chat/`, `openai/` and `anthropic/` providers."""

from __future__ import annotations

import json

import litellm
import pytest

from tests.compatibility.conftest import MODEL
from tests.compatibility.questions import (
    FACT,
    FACT_ANSWER,
    OPENAI_TOOL,
    PERSON,
    PERSON_SCHEMA,
    WEATHER,
    WEATHER_TOOL,
    is_person,
)

PROVIDERS = {"ollama_chat": "", "openai": "/v1", "anthropic": ""}
"""Provider to the path of its base."""


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_completion(address: str, provider: str, stream: bool) -> None:
    answer = litellm.completion(
        model=f"{provider}/{MODEL}",
        messages=FACT,
        api_base=address + PROVIDERS[provider],
        api_key="none",
        temperature=0,
        max_tokens=200,
        stream=stream,
    )
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert FACT_ANSWER in text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_tools(address: str, provider: str) -> None:
    answer = litellm.completion(
        model=f"{provider}/{MODEL}",
        messages=WEATHER,
        tools=[OPENAI_TOOL],
        api_base=address + PROVIDERS[provider],
        api_key="none",
        temperature=0,
        max_tokens=200,
    )
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == WEATHER_TOOL and json.loads(call.function.arguments) == {"city": "Paris"}


def test_schema(address: str) -> None:
    answer = litellm.completion(
        model=f"ollama_chat/{MODEL}",
        messages=PERSON,
        api_base=address,
        temperature=0,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON_SCHEMA}},
    )
    assert is_person(answer.choices[0].message.content)
