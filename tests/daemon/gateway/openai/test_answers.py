"""OpenAI's chat answers, checked with the types of its own client."""

from __future__ import annotations

import importlib
import json
import math

import pytest

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.answers import ChatCompletion, Identity, chat_completion
from hypura_daemon.gateway.openai.stream import ChatCompletionChunk, ChatStream
from tests.daemon.gateway.events import calls, data_of, ends, prefill, says, thinks

IDENTITY = Identity("chatcmpl-1", 'a "model"\u2028', 1700000000)


def streamed(*events: pb.ChatResponse, usage: bool = False, one_call: bool = False) -> list[ChatCompletionChunk]:
    writer = ChatStream(IDENTITY, 1, usage=usage, one_call=one_call)
    stream = writer.begin() + b"".join(writer.add(0, event) for event in events) + writer.end()
    assert stream.endswith(b"data: [DONE]\n\n") and stream.isascii()
    return [ChatCompletionChunk.model_validate(chunk) for chunk in data_of(stream)]


def whole(*events: pb.ChatResponse, logprobs: bool = False) -> ChatCompletion:
    answer = Answer()
    for event in events:
        answer.add(event)
    return chat_completion(IDENTITY, [answer], logprobs=logprobs)


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    chunks = streamed(prefill(1, 2), says("Hé\n"), says('"b"'), ends())
    deltas = [chunk.choices[0].delta.model_dump(exclude_none=True) for chunk in chunks]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Hé\n"}, {"content": '"b"'}, {}]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {
        ("chatcmpl-1", IDENTITY.model, IDENTITY.created)
    }


def test_lines_of_unicode_do_not_break_a_line_of_the_stream() -> None:
    """Clients that split by str.splitlines take U+2028 for an end of line."""
    [_, chunk, _] = streamed(says("a\u2028b\x85c"), ends())
    assert chunk.choices[0].delta.content == "a\u2028b\x85c"


def test_usage_comes_last_and_only_when_requested() -> None:
    assert all(chunk.choices and chunk.usage is None for chunk in streamed(says("a"), ends()))
    *others, last = streamed(thinks("x"), says("a"), ends(5, 3, cached=4), usage=True)
    assert all(chunk.usage is None for chunk in others)
    assert last.choices == [] and last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (5, 3, 8)
    assert last.usage.prompt_tokens_details.cached_tokens == 4
    assert last.usage.completion_tokens_details.reasoning_tokens == 2


def test_thinking_never_is_content() -> None:
    chunks = streamed(thinks("hm"), says("a"), ends())
    assert chunks[1].choices[0].delta.reasoning == chunks[1].choices[0].delta.reasoning_content == "hm"
    assert chunks[1].choices[0].delta.content is None
    message = whole(thinks("hm"), says("a"), ends()).choices[0].message
    assert (message.reasoning, message.reasoning_content, message.content) == ("hm", "hm", "a")


def test_tool_calls() -> None:
    events = (calls(1, "f", {"a": 1}), calls(2, "g", {}), ends())
    chunks = streamed(*events)
    told = [chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert [(call.index, call.id, call.function.name) for [call] in told] == [(0, "call_1", "f"), (1, "call_2", "g")]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    choice = whole(*events).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert [json.loads(call.function.arguments) for call in choice.message.tool_calls or ()] == [{"a": 1}, {}]
    alone = streamed(*events, one_call=True)
    assert len([chunk for chunk in alone if chunk.choices[0].delta.tool_calls]) == 1


@pytest.mark.parametrize(
    ("events", "reason"),
    [((says("a"), ends()), "stop"), ((says("a"), ends(length=True)), "length"), ((ends(stop="x"),), "stop"),
     ((calls(1, "f", {}), ends(length=True)), "length")],
)  # fmt: skip
def test_finish_reasons(events: tuple[pb.ChatResponse, ...], reason: str) -> None:
    assert streamed(*events)[-1].choices[0].finish_reason == reason
    assert whole(*events).choices[0].finish_reason == reason


def test_logprobs_are_those_of_the_content() -> None:
    [_, told, _] = streamed(says("é", logprob=-0.5), ends())
    logprobs = told.choices[0].logprobs
    assert logprobs and [(t.token, t.logprob, t.bytes) for t in logprobs.content] == [("é", -0.5, [195, 169])]
    assert logprobs.content[0].top_logprobs[0].token == "é"
    impossible = whole(says("a", logprob=-math.inf), ends(), logprobs=True).choices[0].logprobs
    assert impossible and impossible.content[0].logprob == -9999.0
    assert whole(says("a"), ends()).choices[0].logprobs is None
    assert len(streamed(says("", logprob=-1), ends())) == 2, "markup is not content"


def test_several_answers_have_their_indices() -> None:
    writer = ChatStream(IDENTITY, 2, usage=True)
    stream = writer.begin() + writer.add(1, says("b")) + writer.add(0, says("a"))
    stream += writer.add(1, ends(5, 2)) + writer.add(0, ends(5, 3)) + writer.end()
    chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in data_of(stream)]
    assert [chunk.choices[0].index for chunk in chunks[:-1]] == [0, 1, 1, 0, 1, 0]
    assert chunks[-1].usage and (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (5, 5)


def test_a_body_has_no_empty_extras() -> None:
    """A key such as tool_calls with null makes some clients look for calls."""
    message = json.loads(whole(says("a"), ends()).model_dump_json())["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "a", "refusal": None}


@pytest.mark.clients
def test_the_client_itself_understands_it() -> None:
    types = importlib.import_module("openai.types.chat")
    for chunk in streamed(says("a", logprob=-1), calls(1, "f", {}), ends(), usage=True):
        types.ChatCompletionChunk.model_validate(chunk.model_dump(exclude_unset=True))
    types.ChatCompletion.model_validate(whole(thinks("x"), calls(1, "f", {}), ends()).model_dump())
