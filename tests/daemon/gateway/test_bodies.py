"""Bodies from anywhere: their shape, or an error that says what is wrong and where."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.errors import HypuraError, InvalidRequest
from hypura_daemon.gateway.bodies import shaped
from hypura_daemon.gateway.ollama.chat import ChatRequest, chat_request
from hypura_daemon.gateway.ollama.generate import GenerateRequest, as_chat, check


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "no valid JSON"),
        (b'{"model": NaN}', "NaN is not JSON"),
        (b"[1]", "an array"),
        (b'"x"', "a string"),
        (b"\xff{}", "UTF-8|no valid JSON"),
        (b'{"model": "\\ud800"}', "UTF-8"),
        (b'{"model": 5}', "model is 5"),
        (b'{"options": {"temperature": "hot"}}', "options.temperature"),
        (b'{"messages": [{"content": "x"}]}', "messages.0.role is required"),
        (b'{"format": ["a"]}', r'^format is \["a"\]'),
        (b'{"keep_alive": true}', "^keep_alive is true"),
        (b"[" * 100_000, "no valid JSON"),
    ],
)
def test_what_is_wrong_is_told(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        shaped(body, ChatRequest)


def test_roles_may_be_written_in_any_case() -> None:
    """Ollama reads "User" as "user"."""
    asked = ChatRequest.model_validate({"model": "m", "messages": [{"role": "User", "content": "hi"}]})
    assert chat_request(asked).messages[0].role == "user"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "messages", "prompt", "options", "keep_alive", "format", "think", "tools", "stream", "images", "context",
     "template", "system", "suffix", "raw", "logprobs", "top_logprobs", "truncate"]
)  # fmt: skip
OPTIONS = st.dictionaries(
    st.sampled_from(["num_ctx", "num_predict", "seed", "temperature", "top_k", "top_p", "stop", "repeat_last_n", "x"]),
    JSON,
    max_size=4,
)


@given(st.dictionaries(FIELDS, JSON, max_size=6), OPTIONS)
def test_nothing_but_a_typed_error_comes_of_any_json(value: dict[str, object], options: dict[str, object]) -> None:
    body = json.dumps({**value, "options": options}).encode()
    for shape, made in ((ChatRequest, chat_request), (GenerateRequest, as_chat)):
        try:
            asked = shaped(body, shape)
            if isinstance(asked, GenerateRequest):
                check(asked)
            made(asked)  # type: ignore[operator]
        except HypuraError:
            pass
