"""Anthropic's requests, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.anthropic.requests import CountRequest, MessagesRequest, chat_request, prompt_request

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def translated(**fields: Any) -> ChatRequest:
    whole = {"model": "m", "max_tokens": 5, "messages": [USER], **fields}
    return chat_request(MessagesRequest.model_validate(whole))


def roles(request: ChatRequest) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in request.messages]


def test_who_does_not_ask_for_thinking_gets_none() -> None:
    """Clients read content[0].text: a thinking block that was not asked for breaks them."""
    request = translated()
    assert request.think is False
    assert (request.sampling.temperature, request.sampling.top_p, request.limits.top_logprobs) == (1.0, 1.0, -1)
    assert request.limits.max_tokens == 5


@pytest.mark.parametrize(
    ("fields", "read", "expected"),
    [
        ({"system": "be brief"}, roles, [("system", "be brief"), ("user", "hi")]),
        ({"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                     {"type": "text", "text": "b"}]}, roles, [("system", "a\n\nb"), ("user", "hi")]),
        ({"system": []}, roles, [("user", "hi")]),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}},
         lambda r: (r.think is not None, r.think_if_able), (False, True)),
        ({"thinking": {"type": "disabled"}}, lambda r: (r.think is not None, r.think), (True, False)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
         lambda r: (r.think is not None, r.think_if_able, r.think_level), (False, True, "max")),
        ({"thinking": {"type": "adaptive"}}, lambda r: (r.think is not None, r.think_if_able), (False, False)),
        ({"output_config": {"effort": "high"}}, lambda r: r.think_level, ""),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}}},
         lambda r: r.limits.json_schema, '{"type": "string"}'),
        ({"stop_sequences": ["a", ""]}, lambda r: list(r.limits.stop), ["a"]),
        ({"stop_sequences": ["a"] * 64 + [""]}, lambda r: len(r.limits.stop), 64),
        ({"temperature": 0, "top_k": 3, "top_p": 0.5},
         lambda r: (r.sampling.temperature, r.sampling.top_k, r.sampling.top_p), (0, 3, 0.5)),
        ({"max_tokens": 10**12}, lambda r: r.limits.max_tokens, (1 << 31) - 1),
        ({"tools": [TOOL]}, lambda r: r.tools,
         [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, lambda r: r.tool_choice, "required"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}}, lambda r: r.tool_choice, "f"),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, lambda r: r.tool_choice, "none"),
        ({"metadata": {"user_id": "u"}, "service_tier": "auto", "made_up": 1}, lambda r: r, translated()),
    ],
)  # fmt: skip
def test_fields(fields: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(translated(**fields)) == expected


def test_a_conversation_with_tools() -> None:
    request = translated(
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "y"},
                    {"type": "text", "text": "I look"},
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "21"},
                    {"type": "tool_result", "tool_use_id": "c2", "is_error": True,
                     "content": [{"type": "text", "text": "22"}]},
                    {"type": "text", "text": "well?"},
                ],
            },
        ]
    )  # fmt: skip
    assert roles(request) == [
        ("user", "a\nb"),
        ("assistant", "I look"),
        ("tool", "21"),
        ("tool", "22"),
        ("user", "well?"),
    ]
    assert request.messages[1].thinking == "hm"
    calls = request.messages[1].tool_calls
    assert [(call["id"], call["function"]) for call in calls] == [
        ("c1", {"name": "f", "arguments": {"a": 1}}),
        ("c2", {"name": "g", "arguments": {}}),
    ]
    assert [message.tool_name for message in request.messages if message.role == "tool"] == ["f", "g"]


def test_turns_of_the_user_that_follow_each_other_are_one() -> None:
    """Some templates want the roles to alternate and refuse anything else."""
    assert roles(translated(messages=[USER, USER])) == [("user", "hi\nhi")]


def test_text_documents_are_text() -> None:
    document = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}
    assert roles(translated(messages=[{"role": "user", "content": [document]}])) == [("user", "T\nd")]


WEB = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


@pytest.mark.parametrize(
    ("fields", "read", "expected"),
    [
        ({"tools": [WEB, TOOL, {"type": "bash_20250124", "name": "bash"}]},
         lambda r: [tool["function"]["name"] for tool in r.tools], ["f"]),
        ({"tools": [WEB], "tool_choice": {"type": "any"}}, lambda r: (r.tools, r.tool_choice), ([], "auto")),
        ({"tools": [WEB], "tool_choice": {"type": "tool", "name": "web_search"}}, lambda r: r.tool_choice, "auto"),
        ({"tools": [TOOL], "tool_choice": {"type": "maybe"}}, lambda r: r.tool_choice, "auto"),
        ({"max_tokens": -1}, lambda r: r.limits.HasField("max_tokens"), False),
        ({"thinking": {"type": "sometimes"}}, lambda r: r.think is not None, False),
        ({"messages": [{"role": "developer", "content": "x"}, {"role": "owner", "content": "y"}]},
         roles, [("system", "x"), ("user", "y")]),
    ],
)  # fmt: skip
def test_what_is_not_known_is_no_reason_to_refuse(fields: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(translated(**fields)) == expected


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "search_result", "source": "http://x", "title": "T", "content": [{"type": "text", "text": "b"}],
          "citations": {"enabled": True}}, "T\nhttp://x\nb"),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": [
            {"type": "web_search_result", "title": "T", "url": "http://x", "encrypted_content": "e"}]},
         "T\nhttp://x"),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": {
            "type": "web_search_tool_result_error", "error_code": "unavailable"}}, None),
        ({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}, None),
        ({"type": "mcp_tool_result", "tool_use_id": "s", "content": [{"type": "text", "text": "x"}]}, "x"),
        ({"type": "document", "title": "T", "context": None, "source": {"type": "base64", "data": "JVBERi0="}},
         "T\n[a document that cannot be read here, since it is not text]"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}}, "d"),
        ({"type": "document", "source": {"type": "content", "content": "d"}}, "d"),
        ({"type": "container_upload", "file_id": "f"}, None),
        ({"type": "redacted_thinking", "data": "x"}, None),
        ({"type": "unheard_of", "text": "x"}, "x"),
        ({"type": "unheard_of"}, None),
        ({"type": "text", "text": "x", "citations": None, "cache_control": None}, "x"),
    ],
)  # fmt: skip
def test_blocks_of_every_kind_leave_a_conversation(block: dict[str, Any], text: str | None) -> None:
    after = {"type": "text", "text": "go on"}
    said = "go on" if text is None else f"{text}\ngo on"
    for role in ("user", "assistant"):
        asked = translated(
            messages=[USER, {"role": "assistant", "content": "a"}, {"role": role, "content": [block, after]}]
        )
        assert asked.messages[-1].content == said
    result = {"type": "tool_result", "tool_use_id": "c", "content": [block, after]}
    assert translated(messages=[{"role": "user", "content": [result]}]).messages[0].content == said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "at least one"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]}, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}, "id or name"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [
            {"type": "image"}]}]}]}, "image"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tool_choice": {"type": "any"}}, "tools is empty"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "'x'"),
        ({"output_config": {"effort": "huge"}}, "'huge'"),
        ({"stop_sequences": ["x"] * 65}, "65"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translated(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": None}, {"max_tokens": 0}, {"max_tokens": "5"}, {"temperature": 3},
        {"top_p": 2}, {"top_k": -1}, {"messages": None}, {"messages": [{"role": "user"}]},
        {"stream": 1}, {"system": 5}, {"model": None},
    ],
)  # fmt: skip
def test_wrong_types_and_ranges(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        translated(**fields)


def test_a_count_is_of_the_same_prompt() -> None:
    """A count that forgets the tools or the thinking is wrong by hundreds of tokens."""
    fields = {"model": "m", "messages": [USER], "system": "s", "tools": [TOOL], "thinking": {"type": "enabled"}}
    counted = prompt_request(CountRequest.model_validate(fields))
    asked = chat_request(MessagesRequest.model_validate({**fields, "max_tokens": 1}))
    assert counted == replace(asked, sampling=counted.sampling, limits=counted.limits)


_BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "document", "x"])},
    optional={
        "text": st.text(max_size=3),
        "thinking": st.text(max_size=3),
        "id": st.text(max_size=3),
        "name": st.text(max_size=3),
        "input": st.dictionaries(st.text(max_size=2), st.integers(), max_size=2) | st.none(),
        "tool_use_id": st.text(max_size=3),
        "content": st.text(max_size=3) | st.lists(st.just({"type": "text", "text": "x"}), max_size=2),
        "source": st.fixed_dictionaries({"type": st.text(max_size=3)}),
    },
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "x"]),
        "content": st.text() | st.lists(_BLOCK, max_size=4),
    }
)


@given(st.lists(_MESSAGE, max_size=5))
def test_any_conversation_is_taken_or_refused(messages: list[dict[str, Any]]) -> None:
    try:
        translated(messages=messages)
    except (InvalidRequest, ValidationError):
        pass
