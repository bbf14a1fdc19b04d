"""langchain-ollama's ChatOllama."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel

from tests.compatibility.conftest import MODEL
from tests.compatibility.questions import FACT, FACT_ANSWER, PERSON, SUM, SUM_ANSWER, WEATHER


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return f"sunny in {city}"


@pytest.fixture
def make(address: str) -> Any:
    return lambda **more: ChatOllama(model=MODEL, base_url=address, temperature=0, num_predict=200, **more)


def test_invoke_and_stream(make: Any) -> None:
    chat = make(reasoning=False)
    assert FACT_ANSWER in chat.invoke(FACT[0]["content"]).content
    assert FACT_ANSWER in "".join(str(chunk.content) for chunk in chat.stream(FACT[0]["content"]))


def test_reasoning(make: Any) -> None:
    answer = make(reasoning=True).invoke(SUM[0]["content"])
    assert SUM_ANSWER in answer.content and answer.additional_kwargs["reasoning_content"]


def test_tools(make: Any) -> None:
    chat = make(reasoning=False).bind_tools([get_weather])
    asked = HumanMessage(WEATHER[0]["content"])
    answer = chat.invoke([asked])
    assert isinstance(answer, AIMessage)
    [call] = answer.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Paris"}
    told = chat.invoke([asked, answer, ToolMessage("21 degrees and sunny", tool_call_id=call["id"])])
    assert told.content


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(make: Any, method: str) -> None:
    person = make(reasoning=False).with_structured_output(Person, method=method).invoke(PERSON[0]["content"])
    assert isinstance(person, Person)


def test_embeddings(address: str) -> None:
    vectors = OllamaEmbeddings(model=MODEL, base_url=address).embed_documents(["the sky", "the sea"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 0
