"""Base classes of the JSON shapes: of what clients send, and of what hypura answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.responses import Response

OMIT_NONE = Field(exclude_if=lambda value: value is None)
"""For a field that is left out when it is None; others are written as null."""


def _fail_fast(schema: Any) -> None:
    """Every list in the schema, in place."""
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        for key, part in schema.items():
            if key not in ("metadata", "default", "serialization"):
                _fail_fast(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _fail_fast(part)


class RequestShape(BaseModel):
    """What clients send: unknown fields are ignored, "5" is not a number, and null is the same as a field left out."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """In Python, so that other threads can run at every object of a large request."""
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """In the document, every field that may be left out may be null."""
        schema = handler(core)
        shape = handler.resolve_ref_schema(schema)
        for name, field in shape.get("properties", {}).items():
            if name not in shape.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()) and field:
                kept = {key: field.pop(key) for key in ("title", "default") if key in field}
                shape["properties"][name] = {**kept, "anyOf": [field, {"type": "null"}]} if field else kept
        return schema

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A list fails at its first wrong item. Seen: a million wrong ones took seconds, and gigabytes."""
        schema = handler(source)
        _fail_fast(handler.resolve_ref_schema(schema))
        return schema


class AnswerShape(BaseModel):
    """What hypura answers."""

    model_config = ConfigDict(extra="forbid")

    def ascii_json(self) -> str:
        """JSON for a line of a stream: clients that split by str.splitlines would break at U+2028 and others."""
        return self.model_dump_json(ensure_ascii=True)


def json_response(body: BaseModel) -> Response:
    """An answer of this body."""
    return Response(body.model_dump_json(), media_type="application/json")
