"""OpenAI's chat requests, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.requests import ChatCompletionRequest, chat_requests

USER = {"role": "user", "content": "hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
OTHER = {"type": "function", "function": {"name": "g"}}


def translated(**fields: Any) -> list[ChatRequest]:
    return chat_requests(ChatCompletionRequest.model_validate({"model": "m", "messages": [USER], **fields}))


def one(**fields: Any) -> ChatRequest:
    [request] = translated(**fields)
    return request


def test_the_defaults_are_openais_and_not_ollamas() -> None:
    request = one()
    assert request.sampling.temperature == 1.0 and request.sampling.top_p == 1.0
    assert not request.sampling.HasField("top_k") and not request.sampling.HasField("seed")
    assert request.limits.top_logprobs == -1 and not request.limits.HasField("max_tokens")
    assert request.think is None and not request.tools and not request.limits.truncate


def test_zero_is_no_default() -> None:
    """`x or default` would make greedy sampling random."""
    request = one(temperature=0, top_p=0, seed=0)
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0, 0, 0)
    assert request.sampling.HasField("seed")


def test_null_is_the_same_as_nothing() -> None:
    names = ("temperature", "top_p", "stop", "n", "seed", "tools", "tool_choice", "response_format", "logit_bias")
    more = ("max_tokens", "stream", "stream_options", "logprobs", "top_logprobs", "reasoning_effort", "user", "store")
    assert one(**dict.fromkeys((*names, *more))) == one()


def test_unknown_fields_are_ignored() -> None:
    assert one(user="u", metadata={"a": "b"}, store=True, service_tier="auto", made_up={"x": [1]}) == one()


@pytest.mark.parametrize(
    ("fields", "read", "expected"),
    [
        ({"stop": "a"}, lambda r: list(r.limits.stop), ["a"]),
        ({"stop": ["a", "", "b"]}, lambda r: list(r.limits.stop), ["a", "b"]),
        ({"max_tokens": 5}, lambda r: r.limits.max_tokens, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, lambda r: r.limits.max_tokens, 7),
        ({"max_tokens": 10**15}, lambda r: r.limits.max_tokens, (1 << 31) - 1),
        ({"seed": -1}, lambda r: r.sampling.seed, (1 << 32) - 1),
        ({"logprobs": True}, lambda r: r.limits.top_logprobs, 0),
        ({"logprobs": True, "top_logprobs": 3}, lambda r: r.limits.top_logprobs, 3),
        ({"logit_bias": {"7": -100, "8": 1.5}}, lambda r: dict(r.sampling.logit_bias), {7: -100, 8: 1.5}),
        ({"presence_penalty": -2, "frequency_penalty": 2},
         lambda r: (r.sampling.presence_penalty, r.sampling.frequency_penalty), (-2, 2)),
        ({"top_k": 3, "min_p": 0.1}, lambda r: (r.sampling.top_k, r.sampling.min_p), (3, 0.1)),
        ({"response_format": {"type": "text"}}, lambda r: r.limits.json_schema, ""),
        ({"response_format": {"type": "json_object"}}, lambda r: r.limits.json_schema, "{}"),
        ({"response_format": {"type": "json_object", "schema": {"type": "string"}}},
         lambda r: r.limits.json_schema, '{"type": "string"}'),
        ({"response_format": {"type": "json_object", "schema": None}}, lambda r: r.limits.json_schema, "{}"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}}},
         lambda r: r.limits.json_schema, '{"type": "string"}'),
        ({"reasoning_effort": "none"}, lambda r: (r.think, r.think_level), (False, "")),
        ({"reasoning_effort": "minimal"}, lambda r: (r.think, r.think_level), (True, "low")),
        ({"reasoning": {"effort": "high"}}, lambda r: (r.think, r.think_level), (True, "high")),
        ({"reasoning": {"enabled": False}}, lambda r: (r.think is not None, r.think), (True, False)),
        ({"tools": [TOOL]}, lambda r: r.tools, [TOOL]),
        ({"tools": [OTHER]}, lambda r: r.tools, [OTHER]),
        ({"tools": []}, lambda r: r.tools, []),
        ({"tools": [TOOL], "tool_choice": "required"}, lambda r: r.tool_choice, "required"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
         lambda r: r.tool_choice, "f"),
        ({"tools": [TOOL, OTHER], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}}},
         lambda r: (r.tools, r.tool_choice), ([OTHER], "required")),
        ({"tool_choice": "none"}, lambda r: r.tool_choice, "none"),
    ],
)  # fmt: skip
def test_fields(fields: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(one(**fields)) == expected


def test_every_answer_has_a_seed_of_its_own() -> None:
    """Equal seeds would give n equal answers."""
    assert [request.sampling.seed for request in translated(n=3, seed=7)] == [7, 8, 9]
    assert not any(request.sampling.HasField("seed") for request in translated(n=2))


def test_a_conversation() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    request = one(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "zoe"},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "c1", "content": "21"},
            {"role": "tool", "tool_call_id": "unknown", "name": "g", "content": [{"type": "text", "text": "22"}]},
        ]
    )
    assert [(m.role, m.content, m.tool_name) for m in request.messages] == [
        ("system", "be brief", ""),
        ("user", "a\nb", ""),
        ("assistant", "", ""),
        ("tool", "21", "f"),
        ("tool", "22", "g"),
    ]
    assert request.messages[2].tool_calls == [call]
    assert request.messages[2].thinking == "hm" and request.messages[3].tool_call_id == "c1"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "at least one"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input_audio"),
        ({"tools": [{"type": "function"}]}, "without a name"),
        ({"tool_choice": "required"}, "tools is empty"),
        ({"tool_choice": "sometimes"}, "sometimes"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "'x'"),
        ({"response_format": {"type": "xml"}}, "unknown type"),
        ({"reasoning_effort": "enormous"}, "enormous"),
        ({"top_logprobs": 2}, "needs logprobs"),
        ({"logit_bias": {"the": 1}}, "'the'"),
        ({"logit_bias": {str(1 << 32): 1}}, "not a token id"),
        ({"stop": ["x"] * 65}, "65"),
        ({"functions": [{"name": "f"}]}, "give tools"),
        ({"modalities": ["text", "audio"]}, "text only"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        one(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -0.1}, {"temperature": 2.1}, {"temperature": "0.5"}, {"temperature": float("nan")},
        {"top_p": 1.1}, {"n": 0}, {"n": 129}, {"n": 1.5}, {"n": True}, {"max_tokens": 0}, {"max_tokens": "5"},
        {"presence_penalty": 3}, {"top_logprobs": 21, "logprobs": True}, {"stream": "yes"}, {"stop": [1]},
        {"messages": "hi"}, {"messages": None},
        {"model": None}, {"max_completion_tokens": 0},
        {"seed": 1 << 63}, {"logit_bias": {"1": 101}},
    ],
)  # fmt: skip
def test_wrong_types_and_ranges(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        one(**fields)


SEARCH = {"type": "web_search"}
NAMESPACE = {
    "type": "namespace",
    "name": "mcp",
    "tools": [{"type": "function", "name": "g", "strict": None}, {"type": "custom", "name": "c"}],
}


@pytest.mark.parametrize(
    ("fields", "read", "expected"),
    [
        ({"max_tokens": -1}, lambda r: r.limits.HasField("max_tokens"), False),
        ({"options": {"num_ctx": 8300, "seed": 1}}, lambda r: r.use.context_tokens, 8300),
        ({"num_ctx": 8300}, lambda r: r.use.context_tokens, 8300),
        ({"num_ctx": -1}, lambda r: r.use.context_tokens, 0),
        ({"num_ctx": 1 << 40}, lambda r: r.use.context_tokens, (1 << 31) - 1),
        ({"max_completion_tokens": -2, "max_tokens": 5}, lambda r: r.limits.HasField("max_tokens"), False),
        ({"tools": [SEARCH, {"type": "custom", "custom": {"name": "c"}}, {"type": "tool_search"}, {"type": "mcp"}]},
         lambda r: r.tools, []),
        ({"tools": [SEARCH], "tool_choice": "required"}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL], "tool_choice": "any"}, lambda r: r.tool_choice, "required"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom"}}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL], "tool_choice": {}}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL, NAMESPACE]},
         lambda r: [tool["function"]["name"] for tool in r.tools], [TOOL["function"]["name"], "g"]),
        ({"response_format": {"type": "json_object", "schema": {"type": "array"}}},
         lambda r: r.limits.json_schema, '{"type": "array"}'),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
         lambda r: r.limits.json_schema, "{}"),
        ({"messages": [{"role": "latest_reminder", "content": "x"}, {"role": "developer", "content": "y"}]},
         lambda r: [(m.role, m.content) for m in r.messages], [("user", "x"), ("system", "y")]),
        ({"messages": [{"role": "user", "content": [{"type": "new", "text": "x"}, {"type": "other"}]}]},
         lambda r: r.messages[0].content, "x"),
        ({"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}]},
         lambda r: r.messages[0].content, "x"),
        ({"messages": [{"role": "assistant", "content": None, "refusal": None, "tool_calls": [
            {"id": "a", "type": "custom", "custom": {"name": "c", "input": "do"}}, {"id": "b", "type": "unheard"}]},
            {"role": "tool", "tool_call_id": "a", "content": "did"}]},
         lambda r: ([call["function"] for call in r.messages[0].tool_calls], r.messages[1].tool_name),
         ([{"name": "c", "arguments": {"input": "do"}}], "c")),
    ],
)  # fmt: skip
def test_what_is_not_known_is_no_reason_to_refuse(fields: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(one(**fields)) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(sorted(ChatCompletionRequest.model_fields))


@given(st.dictionaries(_FIELDS, _JSON, max_size=5))
def test_any_json_is_taken_or_refused(fields: dict[str, Any]) -> None:
    """Never another exception: that would be a 500."""
    try:
        translated(**fields)
    except (InvalidRequest, ValidationError):
        pass
