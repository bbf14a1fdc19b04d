"""Chat requests: their JSON texts parsed at gRPC's edge, and bounds on what the gateway's hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.chat import request as chat
from hypura_daemon.chat.request import ChatMessage, ChatRequest, checked_size, from_proto, json_length
from hypura_daemon.errors import InvalidRequest

CALLS = [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_json_texts_are_parsed() -> None:
    message = pb.ChatMessage(role="assistant", content="x", tool_calls_json=json.dumps(CALLS))
    request = from_proto(
        pb.ChatRequest(
            model="m", messages=[message], tools_json=json.dumps(TOOLS), context=pb.TokenIds(ids=[1, 2]), think=False
        )
    )
    assert request.messages == [ChatMessage(role="assistant", content="x", tool_calls=CALLS)]
    assert request.tools == TOOLS and request.context == (1, 2) and request.think is False


def test_what_is_left_out_is_the_default() -> None:
    request = from_proto(pb.ChatRequest(model="m", messages=[pb.ChatMessage(role="user", content="x")]))
    assert request == ChatRequest("m", [ChatMessage("user", "x", tool_calls=[])], tools=[])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": [pb.ChatMessage(tool_calls_json="{")]}, "message 1 is not valid JSON"),
        ({"messages": [pb.ChatMessage(tool_calls_json='{"a": 1}')]}, "array of objects"),
        ({"messages": [pb.ChatMessage(tool_calls_json="[" * 100_000)]}, "not valid JSON"),
        ({"tools_json": "3"}, "tools is '3'"),
    ],
)
def test_json_that_cannot_be_used(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        from_proto(pb.ChatRequest(model="m", **fields))


def test_more_json_than_a_prompt_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_JSON_CHARACTERS", 40)
    checked_size(ChatRequest("m", [ChatMessage("assistant", tool_calls=[{"a": "b"}])], tools=[{"a": "b"}]))
    with pytest.raises(InvalidRequest, match=r"tools has \d+ characters; 40 are allowed"):
        checked_size(ChatRequest("m", [], tools=TOOLS))
    with pytest.raises(InvalidRequest, match="tool_calls of message 2"):
        checked_size(ChatRequest("m", [ChatMessage("user"), ChatMessage("assistant", tool_calls=CALLS)]))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_count_is_at_most_the_length_of_the_text(value: Any) -> None:
    """What gRPC's edge takes as text is never refused behind it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    characters, size_bytes = json_length(value)
    assert characters <= len(text)
    assert characters <= size_bytes <= len(text.encode())


def test_the_size_counts_the_bytes_of_texts_tools_calls_and_context() -> None:
    """Tools in Japanese counted a third of their bytes, so that too small a context was planned for them."""
    plain = ChatRequest("m", [ChatMessage("user", "é", thinking="x")], context=(1, 2))
    assert checked_size(plain) == 3 + 2 * chat._TOKEN_BYTES
    described = [{"type": "function", "function": {"name": "f", "description": "天気" * 100}}]
    calls = [{"id": "1", "function": {"name": "f", "arguments": {"a": "天気" * 100}}}]
    assert checked_size(ChatRequest("m", [], tools=described)) > 600
    assert checked_size(ChatRequest("m", [ChatMessage("assistant", tool_calls=calls)])) > 600


def test_half_a_surrogate_pair_in_tools_has_a_size() -> None:
    request = from_proto(pb.ChatRequest(model="m", tools_json='[{"description": "\\ud800"}]'))
    assert checked_size(request) > 0
