"""A prompt that is too long, in the words by which coding agents know that they must shorten the conversation."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hypura_daemon.errors import PromptTooLong
from tests.daemon.gateway.events import data_of, says
from tests.daemon.gateway.scripted import serving

TOO_LONG = PromptTooLong("the input length exceeds the context length: the prompt is too long", 5000, 4096)
MESSAGES = [{"role": "user", "content": "x"}]
CLAUDE_CODE = r"prompt is too long[^0-9]*(\d+)\s*tokens?\s*>\s*(\d+)"
OPENCODE = r"maximum context length is \d+ tokens|reduce the length of the messages"  # pi and openclaw have it, too.
LITELLM = "this model's maximum context length is"  # aider asks litellm; it looks at the message in small letters.
OLLAMA = "the input length exceeds the context length"
PI = r"prompt (?:is )?too long"
OPENAI_ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", OPENAI_ROUTES)
async def test_openais_code_and_words(path: str, stream: bool) -> None:
    async with serving(TOO_LONG) as gateway:
        answer = await gateway.http.post(path, json={"model": "m", "stream": stream, **OPENAI_ROUTES[path]})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        400, "invalid_request_error", "context_length_exceeded",
    )  # fmt: skip
    assert error["message"].startswith(
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens"
    )
    assert re.search(OPENCODE, error["message"]) and LITELLM in error["message"].lower()


@pytest.mark.parametrize("path", OPENAI_ROUTES)
async def test_openais_code_after_the_first_byte(path: str) -> None:
    async with serving(says("a"), TOO_LONG) as gateway:
        answer = await gateway.http.post(path, json={"model": "m", "stream": True, **OPENAI_ROUTES[path]})
    assert answer.status_code == 200
    last = data_of(answer.content)[-1]
    error = last["response"]["error"] if path == "/v1/responses" else last["error"]
    assert error["code"] == "context_length_exceeded" and LITELLM in error["message"].lower()


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropics_words(stream: bool) -> None:
    asked = {"model": "m", "max_tokens": 5, "messages": MESSAGES, "stream": stream}
    async with serving(TOO_LONG) as gateway:
        answer = await gateway.http.post("/v1/messages", json=asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    found = re.search(CLAUDE_CODE, error["message"])
    assert found is not None and found.groups() == ("5000", "4095")
    async with serving(says("a"), TOO_LONG) as gateway:
        answer = await gateway.http.post("/v1/messages", json=asked | {"stream": True})
    assert re.search(CLAUDE_CODE, data_of(answer.content)[-1]["error"]["message"])


@pytest.mark.parametrize(("path", "asked"), [("/api/chat", {"messages": MESSAGES}), ("/api/generate", {"raw": True})])
async def test_ollamas_words(path: str, asked: dict[str, Any]) -> None:
    async with serving(TOO_LONG) as gateway:
        answer = await gateway.http.post(path, json={"model": "m", "prompt": "x", **asked})
    assert answer.status_code == 400
    assert OLLAMA in answer.json()["error"] and re.search(PI, answer.json()["error"])


async def test_an_error_without_numbers_has_the_code() -> None:
    """A worker reports an error as text only."""
    async with serving(PromptTooLong("9 tokens")) as gateway:
        answer = await gateway.http.post("/v1/chat/completions", json={"model": "m", "messages": MESSAGES})
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == ("context_length_exceeded", "9 tokens")
