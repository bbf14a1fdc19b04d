"""OpenAI's plain completions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.answers import Identity
from hypura_daemon.gateway.openai.completions import (
    Completion,
    CompletionRequest,
    CompletionStream,
    completion,
    completion_requests,
)
from tests.daemon.gateway.events import data_of, ends, generated, prefill, says

IDENTITY = Identity("cmpl-1", "m", 1700000000)


def asked(**fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"model": "m", **fields})


def translated(**fields: Any) -> list[pb.GenerateRequest]:
    return completion_requests(asked(**fields))


def streamed(request: CompletionRequest, *events: tuple[int, pb.ChatResponse]) -> list[Completion]:
    writer = CompletionStream(IDENTITY, request)
    stream = writer.begin() + b"".join(writer.add(i, generated(event)) for i, event in events) + writer.end()
    assert stream.endswith(b"data: [DONE]\n\n") and stream.isascii()
    return [Completion.model_validate(piece) for piece in data_of(stream)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (None, [""]),
        ("", [""]),
    ],
)
def test_prompts(prompt: Any, expected: list[Any]) -> None:
    requests = translated(prompt=prompt, n=2, seed=1)
    told = [r.prompt if r.WhichOneof("input") == "prompt" else list(r.prompt_ids.ids) for r in requests]
    assert told == [prompt for prompt in expected for _ in range(2)]
    assert [request.sampling.seed for request in requests] == [1, 2] * len(expected)


def test_fields() -> None:
    [request] = translated(prompt="a", suffix="c", max_tokens=4, stop="x", logprobs=2, temperature=0)
    assert (request.suffix, request.limits.max_tokens, request.limits.top_logprobs) == ("c", 4, 2)
    assert list(request.limits.stop) == ["x"] and request.sampling.temperature == 0
    assert translated(prompt="a", best_of=1, user="u") == translated(prompt="a")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": []}, "empty list"),
        ({"prompt": ["a", ""]}, "is empty"),
        ({"prompt": [[]]}, "is empty"),
        ({"prompt": [1], "echo": True}, "echo"),
        ({"prompt": "a", "best_of": 3}, "best_of is 3"),
        ({"prompt": ["a"] * 100, "n": 2}, "exceed 128"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translated(**fields)


def test_a_body_with_echo_and_logprobs() -> None:
    request = asked(prompt=["a ", "bb "], echo=True, logprobs=1)
    answers = [Answer(), Answer()]
    for answer, text in zip(answers, ("x", "y"), strict=True):
        answer.add(generated(says(text, logprob=-1.0)))
        answer.add(generated(ends(2, 1, length=True)))
    body = completion(IDENTITY, request, answers)
    assert [choice.text for choice in body.choices] == ["a x", "bb y"]
    assert [choice.logprobs.text_offset for choice in body.choices if choice.logprobs] == [[2], [3]]
    assert [choice.finish_reason for choice in body.choices] == ["length", "length"]
    # Both prompts count; of n answers to one prompt it would count once.
    assert body.usage and (body.usage.prompt_tokens, body.usage.completion_tokens) == (4, 2)


def test_a_stream() -> None:
    request = asked(prompt="a ", echo=True, logprobs=0, stream_options={"include_usage": True})
    events = (prefill(1, 1), says("b", logprob=-1), says("cc", logprob=-2), ends())
    *pieces, last = streamed(request, *((0, event) for event in events))
    assert [piece.choices[0].text for piece in pieces] == ["a ", "b", "cc", ""]
    offsets = [piece.choices[0].logprobs.text_offset for piece in pieces if piece.choices[0].logprobs]
    assert offsets == [[2], [3]]
    assert [piece.choices[0].finish_reason for piece in pieces] == [None, None, None, "stop"]
    assert not last.choices and last.usage and last.usage.total_tokens == 8


_PROMPTS = st.one_of(
    st.none(), st.text(), st.lists(st.text()), st.lists(st.integers()), st.lists(st.lists(st.integers())), st.floats()
)


@given(_PROMPTS, st.none() | st.integers(-5, 300), st.booleans())
def test_any_prompt_is_taken_or_refused(prompt: object, n: int | None, echo: bool) -> None:
    try:
        request = asked(prompt=prompt, n=n, echo=echo)
        assert len(completion_requests(request)) >= 1
        CompletionStream(IDENTITY, request).begin()
    except (InvalidRequest, ValidationError):
        pass
