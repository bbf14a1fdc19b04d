"""Anthropic's answers and events, replayed by the state machine of its own client where that is installed."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.anthropic.answers import Message, message, signature
from hypura_daemon.gateway.anthropic.stream import MessageStream
from tests.daemon.gateway.events import calls, data_of, ends, prefill, says, thinks


def whole(*events: pb.ChatResponse) -> Message:
    answer = Answer()
    for event in events:
        answer.add(event)
    return message("msg_1", "m", answer)


def streamed(*events: pb.ChatResponse, one_call: bool = False) -> list[Any]:
    writer = MessageStream("msg_1", "m", one_call=one_call)
    text = writer.begin(events[0]) + b"".join(writer.add(event) for event in events) + writer.end()
    assert text.isascii()
    told = data_of(text)
    assert [line[7:] for line in text.decode().split("\n") if line.startswith("event: ")] == [e["type"] for e in told]
    return told


def test_the_whole_sequence() -> None:
    told = streamed(
        prefill(1, 5), prefill(5, 5), thinks("h"), thinks("m"), says("Hé"), says("llo"), calls(1, "f", {"a": 1}),
        calls(2, "g", {}), ends(5, 9),
    )  # fmt: skip
    start, delta, stop = "content_block_start", "content_block_delta", "content_block_stop"
    assert [event["type"] for event in told] == [
        "message_start", "ping", "ping",
        start, delta, delta, delta, stop,
        start, delta, delta, stop,
        start, delta, stop,
        start, delta, stop,
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert [event["index"] for event in told if "index" in event] == [0] * 5 + [1] * 4 + [2] * 3 + [3] * 3
    kinds = [event["delta"]["type"] for event in told if event["type"] == delta]
    assert kinds == ["thinking_delta", "thinking_delta", "signature_delta", "text_delta", "text_delta",
                     "input_json_delta", "input_json_delta"]  # fmt: skip
    assert told[0]["message"]["usage"]["input_tokens"] == 5 and told[0]["message"]["stop_reason"] is None
    assert told[3]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert told[12]["content_block"] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert told[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (told[-2]["usage"]["input_tokens"], told[-2]["usage"]["output_tokens"]) == (5, 9)


@pytest.mark.parametrize(
    ("events", "reason", "sequence"),
    [
        ((says("a"), ends()), "end_turn", None),
        ((says("a"), ends(length=True)), "max_tokens", None),
        ((says("a"), ends(stop="END")), "stop_sequence", "END"),
        ((calls(1, "f", {}), ends()), "tool_use", None),
        ((ends(),), "end_turn", None),
    ],
)
def test_stop_reasons(events: tuple[pb.ChatResponse, ...], reason: str, sequence: str | None) -> None:
    body = whole(*events)
    assert (body.stop_reason, body.stop_sequence) == (reason, sequence)
    assert streamed(*events)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_a_body() -> None:
    body = whole(thinks("hm"), says("a"), calls(1, "f", {"x": [1]}), ends(5, 9)).model_dump()
    assert body["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": signature("hm")},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": [1]}},
    ]
    assert body["usage"]["input_tokens"] == 5 and body["usage"]["output_tokens"] == 9
    assert whole(ends()).content == []


def test_one_call() -> None:
    told = streamed(calls(1, "f", {}), calls(2, "g", {}), ends(), one_call=True)
    assert [event["content_block"]["name"] for event in told if event["type"] == "content_block_start"] == ["f"]


_EVENTS = st.lists(
    st.one_of(st.text().map(says), st.text().map(thinks), st.just(calls(1, "f", {"a": "b"})), st.just(prefill(1, 1)))
)


@given(_EVENTS)
def test_blocks_open_and_close_in_order(events: list[pb.ChatResponse]) -> None:
    told = streamed(*events, ends())
    open_index, following = None, 0
    for event in told:
        match event["type"]:
            case "content_block_start":
                assert open_index is None and event["index"] == following
                open_index, following = event["index"], following + 1
            case "content_block_delta":
                assert event["index"] == open_index
            case "content_block_stop":
                assert event["index"] == open_index
                open_index = None
    assert open_index is None
    said = "".join(event["delta"]["text"] for event in told if event.get("delta", {}).get("type") == "text_delta")
    assert said == "".join(event.chunk.text for event in events)


@pytest.mark.clients
def test_the_client_itself_understands_it() -> None:
    types = importlib.import_module("anthropic.types")
    streaming = importlib.import_module("anthropic.lib.streaming._messages")
    models = importlib.import_module("anthropic._models")
    events = (prefill(5, 5), thinks("hm"), says("a"), calls(1, "f", {"a": 1}), ends())
    snapshot = None
    buffers: dict[int, bytes] = {}
    for event in streamed(*events):
        if event["type"] == "ping":
            continue
        typed = models.construct_type_unchecked(type_=types.RawMessageStreamEvent, value=event)
        type(typed).model_validate(event)
        snapshot = streaming.accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    body = whole(*events)
    types.Message.model_validate(body.model_dump())
    assert [block.type for block in snapshot.content] == [block.type for block in body.content]
    assert snapshot.content[2].input == {"a": 1} and snapshot.stop_reason == "tool_use"
