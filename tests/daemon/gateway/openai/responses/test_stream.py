"""The events of OpenAI's responses, replayed by the state machine of its own client where that is installed."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.answers import Identity
from hypura_daemon.gateway.openai.responses.answers import ResponseObject
from hypura_daemon.gateway.openai.responses.requests import ResponseRequest
from hypura_daemon.gateway.openai.responses.stream import ResponseStream, whole
from tests.daemon.gateway.events import calls, data_of, ends, prefill, says, thinks

IDENTITY = Identity("resp_1", "m", 1700000000)


def stream_for(**fields: Any) -> ResponseStream:
    return ResponseStream(IDENTITY, ResponseRequest.model_validate({"model": "m", "input": "hi", **fields}))


def events_of(stream: ResponseStream, *events: pb.ChatResponse) -> list[Any]:
    text = stream.begin() + b"".join(stream.add(event) for event in events) + stream.end()
    assert text.isascii()
    told = data_of(text)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def names(told: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


def test_the_whole_sequence() -> None:
    events = (prefill(1, 2), thinks("h"), thinks("m"), says("Hé"), says("llo"), calls(1, "f", {"a": 1}), ends())
    told = events_of(stream_for(), *events)
    assert names(told) == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [event["output_index"] for event in told if "output_index" in event] == [0] * 7 + [1] * 7 + [2] * 4
    response = ResponseObject.model_validate(told[-1]["response"])
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert {item.status for item in response.output} == {"completed"}
    ids = [item.id for item in response.output]
    assert len(set(ids)) == 3
    done = [event["item"]["id"] for event in told if event["type"] == "response.output_item.done"]
    assert done == ids and {event["item_id"] for event in told if "item_id" in event} == set(ids)
    assert response.usage and response.usage.output_tokens_details.reasoning_tokens == 4
    added = [event["item"] for event in told if event["type"] == "response.output_item.added"]
    assert added[1]["content"] == [] and added[2]["arguments"] == ""


def test_a_summary_is_the_thinking() -> None:
    """Clients that ask for a summary show nothing else."""
    told = events_of(stream_for(reasoning={"summary": "auto"}), thinks("hm"), says("a"), ends())
    assert names(told)[3:6] == [
        "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
    ]  # fmt: skip
    assert told[4]["summary_index"] == 0 and "content_index" not in told[4]
    [thought, _] = told[-1]["response"]["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "hm"}] and "content" not in thought


@pytest.mark.parametrize(("length", "status"), [(False, "completed"), (True, "incomplete")])
def test_how_it_ends(length: bool, status: str) -> None:
    told = events_of(stream_for(), says("a"), ends(length=length))
    assert told[-1]["type"] == f"response.{status}" and told[-1]["response"]["status"] == status
    assert told[-1]["response"]["output"][0]["status"] == status
    details = told[-1]["response"]["incomplete_details"]
    assert details == ({"reason": "max_output_tokens"} if length else None)


def test_an_answer_that_breaks_off_fails() -> None:
    stream = stream_for()
    text = stream.begin() + stream.add(says("a")) + stream.fail("server_error", "the worker died")
    last = data_of(text)[-1]
    assert last["type"] == "response.failed" and last["response"]["error"]["message"] == "the worker died"
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_an_empty_answer_is_an_empty_message() -> None:
    told = events_of(stream_for(), ends())
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == ""


def test_logprobs() -> None:
    told = events_of(stream_for(top_logprobs=1), says("a", logprob=-1), says("b", logprob=-2), ends())
    deltas = [event for event in told if event["type"] == "response.output_text.delta"]
    assert [[token["token"] for token in event["logprobs"]] for event in deltas] == [["a"], ["b"]]
    assert len(told[-1]["response"]["output"][0]["content"][0]["logprobs"]) == 2


def test_whole_and_streamed_answers_are_equal() -> None:
    events = (thinks("hm"), says("a", logprob=-1), says("b"), calls(1, "f", {}), ends())
    answer = Answer()
    for event in events:
        answer.add(event)
    streamed = ResponseObject.model_validate(events_of(stream_for(), *events)[-1]["response"])
    told = whole(stream_for(), answer)
    for one, other in zip(told.output, streamed.output, strict=True):
        assert one.model_dump(exclude={"id"}) == other.model_dump(exclude={"id"})
    assert told.model_dump(exclude={"output"}) == streamed.model_dump(exclude={"output"})


_EVENTS = st.lists(
    st.one_of(
        st.text(min_size=1).map(says), st.text(min_size=1).map(thinks), st.just(calls(1, "f", {})),
        st.just(prefill(1, 1)), st.just(pb.ChatResponse(chunk=pb.TokenChunk(token_ids=[1]))),
        st.tuples(st.text(), st.text()).map(
            lambda both: pb.ChatResponse(chunk=pb.TokenChunk(thinking=both[0], text=both[1]))
        ),
    )
)  # fmt: skip


@given(_EVENTS, st.booleans())
def test_the_deltas_are_the_answer_whatever_comes(events: list[pb.ChatResponse], summarized: bool) -> None:
    told = events_of(stream_for(reasoning={"summary": "auto"} if summarized else None), *events, ends())
    said = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    thought = "".join(event["delta"] for event in told if "reasoning" in event["type"] and "delta" in event)
    assert said == "".join(event.chunk.text for event in events)
    assert thought == "".join(event.chunk.thinking for event in events)
    response = told[-1]["response"]
    final = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(final) == said
    assert names(told).count("output_item.added") == names(told).count("output_item.done") == len(response["output"])


@pytest.mark.clients
def test_the_client_itself_understands_it() -> None:
    responses = importlib.import_module("openai.types.responses")
    machine = importlib.import_module("openai.lib.streaming.responses._responses")
    models = importlib.import_module("openai._models")
    openai = importlib.import_module("openai")
    state = machine.ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": False}
    stream = stream_for(tools=[tool])
    for event in events_of(stream, thinks("hm"), says("a"), calls(1, "f", {}), ends()):
        typed = models.construct_type_unchecked(type_=responses.ResponseStreamEvent, value=event)
        type(typed).model_validate(event)
        state.handle_event(typed)
    responses.Response.model_validate(stream.response.model_dump())
