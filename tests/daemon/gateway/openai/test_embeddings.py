"""OpenAI's embeddings and list of models."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import pytest

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.openai.answers import model_list
from hypura_daemon.gateway.openai.embeddings import EmbeddingList, EmbeddingRequest, embed_request, embedding_list
from hypura_daemon.models.summaries import ModelSummary


def asked(**fields: Any) -> EmbeddingRequest:
    return EmbeddingRequest.model_validate({"model": "m", **fields})


def test_vectors_have_length_one_and_long_texts_are_cut() -> None:
    """As Ollama does; programs that embed documents in pieces rely on it."""
    request = embed_request(asked(input="a", dimensions=8))
    assert (list(request.texts), request.normalize, request.truncate, request.dimensions) == (["a"], True, True, 8)
    assert list(embed_request(asked(input=["a", "b"])).texts) == ["a", "b"]


@pytest.mark.parametrize(("given", "expected"), [([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])])
def test_texts_as_token_ids(given: Any, expected: list[list[int]]) -> None:
    request = embed_request(asked(input=given))
    assert [list(text.ids) for text in request.token_texts] == expected and not request.texts


@pytest.mark.parametrize("given", ["", [], ["a", ""], [[]], [[1], []], ["a"] * 2049])
def test_what_cannot_be_embedded_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest):
        embed_request(asked(input=given))


async def written(request: EmbeddingRequest, answer: pb.EmbedResponse) -> EmbeddingList:
    pieces = [piece async for piece in embedding_list(request, answer)]
    assert len(pieces) == len(answer.embeddings) + 2, "one vector after the other"
    return EmbeddingList.model_validate_json(b"".join(pieces))


async def test_base64_is_little_endian_float32() -> None:
    answer = pb.EmbedResponse(embeddings=[pb.Embedding(values=[0.5, -2.0])] * 2, prompt_tokens=3)
    packed, second = (await written(asked(input="a", encoding_format="base64"), answer)).data
    assert isinstance(packed.embedding, str) and (packed.index, second.index) == (0, 1)
    assert struct.unpack("<2f", base64.b64decode(packed.embedding)) == (0.5, -2.0)
    body = await written(asked(input="a"), answer)
    assert body.data[0].embedding == [0.5, -2.0] and body.usage.prompt_tokens == body.usage.total_tokens == 3


def test_models_that_cannot_be_read_are_not_listed() -> None:
    good = ModelSummary("hf.co/a/b:Q4", Path("/x"), modified_seconds=5.5)
    bad = ModelSummary("bad:latest", Path("/y"), error="damaged")
    odd = ModelSummary("odd:latest", Path("/z"), modified_seconds=-1e30)
    told = model_list([bad, good, odd])
    assert [(model.id, model.created, model.owned_by) for model in told.data] == [
        ("hf.co/a/b:Q4", 5, "a"),
        ("odd:latest", 0, "library"),
    ]
    assert told.data[0].created_at == "1970-01-01T00:00:05Z"
    assert model_list([]).first_id is None
