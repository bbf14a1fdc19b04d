"""Embeddings: vectors of length 1, as numbers or as little-endian float32 in base64."""

import base64
import struct
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.answer import listed
from hypura_daemon.gateway.openai.requests import TokenId
from hypura_daemon.gateway.shapes import AnswerShape, RequestShape

MAX_INPUTS = 2048


class EmbeddingRequest(RequestShape):
    """See OpenAI's reference of embeddings; token ids are those of the named model."""

    model: str
    input: str | list[str] | list[TokenId] | list[list[TokenId]]
    dimensions: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Embedding(AnswerShape):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(AnswerShape):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(AnswerShape):
    """One vector for each input, in order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def embed_request(body: EmbeddingRequest) -> inference_pb2.EmbedRequest:
    """The core's request, which cuts texts that are too long, as Ollama does. Raises InvalidRequest."""
    given = body.input
    single = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    texts: Sequence[Any] = [given] if single else given
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise InvalidRequest(f"input has {len(texts)} texts; give 1 to {MAX_INPUTS}")
    if not all(texts):
        raise InvalidRequest("input has an empty text; give at least one character, or one token id")
    return inference_pb2.EmbedRequest(
        model=body.model,
        texts=[text for text in texts if isinstance(text, str)],
        token_texts=[inference_pb2.TokenIds(ids=ids) for ids in texts if not isinstance(ids, str)],
        normalize=True,
        truncate=True,
        dimensions=body.dimensions or 0,
    )


def embedding_list(body: EmbeddingRequest, answer: inference_pb2.EmbedResponse) -> AsyncGenerator[bytes, None]:
    """The body of an EmbeddingList, in pieces."""
    pack = _packed if body.encoding_format == "base64" else list[float]
    rest = EmbeddingList(
        data=[],
        model=body.model,
        usage=EmbeddingUsage(prompt_tokens=answer.prompt_tokens, total_tokens=answer.prompt_tokens),
    )
    head, tail = rest.model_dump_json().encode().split(b"[]", 1)

    def item(number: int, values: Sequence[float]) -> bytes:
        return Embedding(index=number, embedding=pack(values)).model_dump_json().encode()

    return listed(head + b"[", answer.embeddings, item, b"]" + tail)


def _packed(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
