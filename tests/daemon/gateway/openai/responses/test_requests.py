"""OpenAI's requests for responses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.chat.request import ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.answers import new_identity
from hypura_daemon.gateway.openai.responses.requests import ResponseRequest, input_messages, response_request
from hypura_daemon.gateway.openai.responses.stream import ResponseStream

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def translated(**fields: Any) -> ChatRequest:
    asked = ResponseRequest.model_validate({"model": "m", "input": "hi", **fields})
    return response_request(asked, input_messages(asked.input))


def roles(request: ChatRequest) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in request.messages]


def test_instructions_and_leading_system_messages_are_one() -> None:
    """Many templates refuse a second system message."""
    assert roles(translated(instructions="a")) == [("system", "a"), ("user", "hi")]
    given = [{"role": "developer", "content": "b"}, {"role": "user", "content": "hi"}]
    assert roles(translated(instructions="a", input=given)) == [("system", "a\n\nb"), ("user", "hi")]


def test_a_turn_of_the_assistant_is_one_message() -> None:
    request = translated(
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": ""},
            {"type": "function_call_output", "call_id": "c1", "output": "21"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "22"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]},
            {"type": "message", "role": "assistant", "content": "21 and 22"},
            {"role": "assistant", "content": "really"},
        ]
    )
    assert roles(request) == [
        ("user", "weather?"),
        ("assistant", "I look"),
        ("tool", "21"),
        ("tool", "22"),
        ("assistant", "21 and 22"),
        ("assistant", "really"),
    ]
    assert [message.thinking for message in request.messages if message.thinking] == ["hm", "so"]
    names = [call["function"] for call in request.messages[1].tool_calls]
    assert names == [{"name": "f", "arguments": '{"a": 1}'}, {"name": "g", "arguments": "{}"}]
    assert [message.tool_name for message in request.messages if message.role == "tool"] == ["f", "g"]


@pytest.mark.parametrize(
    ("fields", "read", "expected"),
    [
        ({}, lambda r: (r.sampling.temperature, r.sampling.top_p, r.limits.top_logprobs), (1.0, 1.0, -1)),
        ({"max_output_tokens": 4}, lambda r: r.limits.max_tokens, 4),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "string"}}}},
         lambda r: r.limits.json_schema, '{"type": "string"}'),
        ({"text": {"format": {"type": "json_object"}}}, lambda r: r.limits.json_schema, "{}"),
        ({"text": {"verbosity": "low"}}, lambda r: r.limits.json_schema, ""),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, lambda r: (r.think, r.think_level), (True, "high")),
        ({"include": ["message.output_text.logprobs"]}, lambda r: r.limits.top_logprobs, 0),
        ({"top_logprobs": 3}, lambda r: r.limits.top_logprobs, 3),
        ({"truncation": "auto"}, lambda r: r.limits.truncate, True),
        ({"tools": [TOOL, {"type": "web_search"}], "tool_choice": {"type": "function", "name": "f"}},
         lambda r: (r.tools, r.tool_choice),
         ([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "f")),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
         lambda r: (r.tools, r.tool_choice), ([], "auto")),
    ],
)  # fmt: skip
def test_fields(fields: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(translated(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": ""}, "input is empty"),
        ({"input": []}, "input is empty"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "image"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tool_choice": "required"}, "tools is empty"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translated(**fields)


def test_items_of_every_kind_leave_a_conversation() -> None:
    """What Codex and the Agents SDK send back: items that OpenAI runs are left out, calls of other kinds are calls."""
    request = translated(
        input=[
            {"type": "compaction", "encrypted_content": "x"},
            {"type": "item_reference", "id": "msg_1"},
            {"role": "latest_reminder", "content": "now"},
            {"type": "reasoning", "id": "rs", "summary": [], "content": None, "encrypted_content": "x"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
            {"type": "image_generation_call", "id": "ig_1", "result": "x"},
            {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
            {"type": "local_shell_call", "call_id": "c2", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "local_shell_call_output", "call_id": "c2", "output": "a.txt"},
            {"type": "function_call", "call_id": "c3", "name": "g", "namespace": "mcp", "arguments": '{"a": '},
            {"type": "function_call_output", "call_id": "c3", "output": [{"type": "output_text", "text": "no"}]},
            {"type": "mcp_list_tools", "id": "m", "tools": []},
            {"type": "unheard_of", "content": {"type": "text"}},
        ],
        tools=[{"type": "local_shell"}, {"type": "tool_search"}, {"type": "custom", "name": "apply_patch"}],
        tool_choice="required",
        truncation="middle",
    )
    assert roles(request) == [
        ("user", "now"), ("assistant", ""), ("tool", "Done"), ("assistant", ""), ("tool", "a.txt"),
        ("assistant", ""), ("tool", "no"),
    ]  # fmt: skip
    calls = [m.tool_calls[0]["function"] for m in request.messages if m.tool_calls]
    assert calls == [
        {"name": "apply_patch", "arguments": {"input": "*** Begin"}},
        {"name": "local_shell", "arguments": {"type": "exec", "command": ["ls"]}},
        {"name": "g", "arguments": '{"a": '},
    ]
    assert (request.tools, request.tool_choice) == ([], "auto")


def test_a_namespace_is_its_functions_and_calls_name_it() -> None:
    """Codex offers its MCP servers so, and finds the server of a call by the namespace."""
    inner = {"type": "function", "name": "g", "description": None, "parameters": {"type": "object"}, "strict": False}
    asked = ResponseRequest.model_validate(
        {
            "model": "m",
            "input": "hi",
            "tools": [{"type": "namespace", "name": name, "tools": [inner]} for name in ("mcp", "web")] + [TOOL],
        }
    )
    offered = response_request(asked, input_messages("hi")).tools
    assert [tool["function"]["name"] for tool in offered] == ["g", "web__g", "f"]
    stream = ResponseStream(new_identity("resp_", "m"), asked)
    for name in ("g", "web__g", "f"):
        stream.add(pb.ChatResponse(tool_call=pb.ToolCall(id=name, name=name, arguments_json="{}")))
    stream.end()
    told = [item.model_dump() for item in stream.response.output]
    assert [(item["name"], item.get("namespace")) for item in told] == [("g", "mcp"), ("g", "web"), ("f", None)]
    assert "namespace" not in told[2]


_ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "reasoning", "function_call", "function_call_output", "x"]) | st.none(),
        "role": st.sampled_from(["user", "assistant", "system", "tool"]) | st.none(),
        "content": st.text() | st.lists(st.fixed_dictionaries({"type": st.text()}, optional={"text": st.text()})),
        "call_id": st.text(max_size=3),
        "name": st.text(max_size=3),
        "arguments": st.text(max_size=3),
        "output": st.text(max_size=3) | st.none(),
        "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": st.text()})),
    },
)


@given(st.lists(_ITEM, max_size=6))
def test_any_items_are_taken_or_refused(items: list[dict[str, Any]]) -> None:
    try:
        translated(input=items)
    except (InvalidRequest, ValidationError):
        pass
