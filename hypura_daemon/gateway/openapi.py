"""/openapi.json: the endpoints as an OpenAPI 3.1 document. Pure."""

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hypura_daemon.gateway.dialects import ERROR_SHAPES, error_shape
from hypura_daemon.gateway.endpoint import Endpoint
from hypura_daemon.gateway.ollama.stream import NDJSON

_REFERENCE = "#/components/schemas/{model}"
_WORDS = {
    400: "The request is not valid, or asks for what is not supported",
    401: "The API key is missing or wrong",
    403: "The Host or the Origin header is not allowed",
    404: "No such model",
    413: "The body is too large",
    415: "The body's Content-Encoding is not known",
    500: "Internal error, or a worker that failed",
    501: "Not supported",
    502: "The host to download from failed",
    503: "Busy, or the worker died; try again",
}
_ALWAYS = (401, 403)
_MODULES = "hypura_daemon__gateway__"
_PUBLISHED = {
    "anthropic__answers__Usage": "anthropic__answer__Usage",
    "anthropic__requests__Tool": "anthropic__request__Tool",
    "ollama__answers__TokenLogprob": "ollama__shapes__TokenLogprob",
    "ollama__requests__Named": "ollama__naming__Named",
    "openai__answers__Choice": "openai__chat_answer__Choice",
    "openai__answers__Logprobs": "openai__chat_answer__Logprobs",
    "openai__answers__TokenLogprob": "openai__chat_answer__TokenLogprob",
    "openai__answers__Usage": "openai__usage__Usage",
    "openai__completions__Choice": "openai__completion__Choice",
    "openai__completions__Logprobs": "openai__completion__Logprobs",
    "openai__requests__Message": "openai__chat_request__Message",
}
"""Shapes of equal names are told apart by their modules. Where a shape has moved, its component keeps the name by which
the document was published: generated clients know it."""
_EVENT = {"type": "object", "properties": {"event": {"type": "string"}, "data": {"type": "string"}}}


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    endpoints = tuple(endpoints)
    inputs: set[type[BaseModel]] = {e.request for e in endpoints if e.request is not None}
    outputs: set[type[BaseModel]] = {s for e in endpoints for s in (e.response, e.stream) if s is not None}
    outputs |= set(ERROR_SHAPES)
    shapes: list[tuple[type[BaseModel], Any]] = [(shape, "validation") for shape in inputs]
    shapes += [(shape, "serialization") for shape in outputs]
    shapes.sort(key=lambda item: (item[0].__module__, item[0].__qualname__))
    names, definitions = models_json_schema(shapes, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        path = re.sub(r":\w+}", "}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hypura", "version": metadata.version("hypura")},
        "paths": _published(paths),
        "components": {"schemas": _published(definitions.get("$defs", {}))},
    }


def _published(part: Any) -> Any:
    """A part of the document with its components under their published names."""
    if isinstance(part, dict):
        return {_published_name(key): _published(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_published(value) for value in part]
    return _published_name(part) if isinstance(part, str) else part


def _published_name(text: str) -> str:
    """A component's name, or a reference to one; any other text stays as it is."""
    before, modules, shape = text.partition(_MODULES)
    return f"{before}{modules}{_PUBLISHED.get(shape, shape)}"


def _operation(endpoint: Endpoint, names: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _answer(endpoint, names)}
    if endpoint.path.startswith("/api/blobs") and endpoint.method == "POST":
        responses["201"] = {"description": "The blob is new"}
    error = names[(error_shape(endpoint.path), "serialization")]
    statuses = {*endpoint.errors, *_ALWAYS, *((413, 415) if endpoint.request is not None else ())}
    for status in sorted(statuses):
        responses[str(status)] = {"description": _WORDS[status]} | (
            {} if endpoint.method == "HEAD" else {"content": {"application/json": {"schema": error}}}
        )
    operation: dict[str, Any] = {"summary": endpoint.summary, "responses": responses}
    if parameters := re.findall(r"{(\w+)(?::\w+)?}", endpoint.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ]
    if endpoint.request is not None:
        schema = names[(endpoint.request, "validation")]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _answer(endpoint: Endpoint, names: Any) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if endpoint.response is not None:
        content["application/json"] = {"schema": names[(endpoint.response, "serialization")]}
    if endpoint.stream is not None:
        # One item of the stream; OpenAPI 3.1 cannot describe a sequence, so the body itself is only text, or events.
        item = names[(endpoint.stream, "serialization")]
        if endpoint.path.startswith("/v1/"):
            content["text/event-stream"] = {"schema": _EVENT, "x-item-schema": item}
        else:
            content[NDJSON] = {"schema": {"type": "string"}, "x-item-schema": item}
    return {"description": "Done"} | ({"content": content} if content and endpoint.method != "HEAD" else {})
