"""What holds for the request shapes of all dialects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from hypura_daemon.gateway.app import ENDPOINTS
from hypura_daemon.gateway.openapi import document
from hypura_daemon.gateway.shapes import RequestShape
from tests.daemon.gateway.scripted import serving

COMPONENTS = """
anthropic__answer__Usage anthropic__conversation__Message anthropic__errors__ErrorBody anthropic__errors__ErrorDetail
anthropic__request__Tool ollama__naming__Named ollama__shapes__TokenLogprob openai__chat_answer__Choice
openai__chat_answer__Logprobs openai__chat_answer__TokenLogprob openai__chat_request__Message openai__completion__Choice
openai__completion__Logprobs openai__errors__ErrorBody openai__errors__ErrorDetail openai__tools__Named
openai__tools__Tool openai__usage__Usage
""".split()
"""The published names of components that are told apart by their modules."""


def shapes(of: type[RequestShape] = RequestShape) -> Iterator[type[RequestShape]]:
    for shape in of.__subclasses__():
        yield shape
        yield from shapes(shape)


OPTIONAL = sorted(
    {
        (shape, field.alias or name)
        for shape in shapes()
        for name, field in shape.model_fields.items()
        if not field.is_required()
    },
    key=lambda pair: (pair[0].__module__, pair[0].__qualname__, pair[1]),
)


@pytest.mark.parametrize(
    ("shape", "name"), OPTIONAL, ids=[f"{shape.__module__}.{shape.__name__}.{name}" for shape, name in OPTIONAL]
)
def test_every_field_that_may_be_left_out_may_be_null(shape: type[RequestShape], name: str) -> None:
    try:
        shape.model_validate({name: None})
    except ValidationError as error:
        assert name not in [detail["loc"][0] for detail in error.errors()]


def test_the_document_says_so() -> None:
    schemas: dict[str, Any] = document(ENDPOINTS)["components"]["schemas"]
    told = schemas["ChatRequest"]["properties"]["keep_alive"], schemas["CreateRequest"]["properties"]["model"]
    assert all({"type": "null"} in field["anyOf"] for field in told)
    assert schemas["ChatCompletionRequest"]["properties"]["model"]["type"] == "string"


def test_components_keep_their_published_names() -> None:
    """Generated clients know them, so a shape that moves keeps its name."""
    schemas = document(ENDPOINTS)["components"]["schemas"]
    assert sorted(name for name in schemas if "__" in name) == [
        f"hypura_daemon__gateway__{name}" for name in COMPONENTS
    ]


@pytest.mark.parametrize("path", ["/v1/models/", "/v1//models", "//v1/models//", "/api/tags/", "/api/version/"])
async def test_a_slash_too_many_is_passed_over(path: str) -> None:
    async with serving() as gateway:
        answer = await gateway.http.get(gateway.address + path)
        assert answer.status_code == 200, answer.text
        asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
        for posted in ("/v1/chat/completions/", "/v1/messages/", "/v1/messages/count_tokens/", "/v1//messages"):
            answer = await gateway.http.post(gateway.address + posted, json=asked)
            assert answer.status_code == 200, answer.text
        missing = await gateway.http.get(gateway.address + "/v1/models/none/")
        assert missing.status_code == 404 and "none" in missing.json()["error"]["message"]
