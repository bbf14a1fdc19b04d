"""What all JSON shapes of the gateway share."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.responses import Response

WHEN_SAID = Field(exclude_if=lambda value: value is None)
"""For a field that is left out when it is None; others are told as null."""


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


class Asked(BaseModel):
    """What clients send: unknown fields are passed over, types are taken at their word ("5" is no number), and null is
    the same as leaving a field out.
    """

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """In Python, so that other threads get their turn at every object of a large request."""
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The document says of every field that may be left out that it may be null."""
        schema = handler(core)
        shape = handler.resolve_ref_schema(schema)
        for name, field in shape.get("properties", {}).items():
            if name not in shape.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()) and field:
                told = {key: field.pop(key) for key in ("title", "default") if key in field}
                shape["properties"][name] = {**told, "anyOf": [field, {"type": "null"}]} if field else told
        return schema

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lists are given up at their first wrong item: seen, a million wrong ones took seconds, and gigabytes."""
        schema = handler(source)
        _fail_fast(handler.resolve_ref_schema(schema))
        return schema


class Told(BaseModel):
    """What hypura sends."""

    model_config = ConfigDict(extra="forbid")

    def ascii_json(self) -> str:
        """For a line of a stream: clients that split by str.splitlines break at U+2028 and its like."""
        return self.model_dump_json(ensure_ascii=True)


def told(body: BaseModel) -> Response:
    """A whole answer."""
    return Response(body.model_dump_json(), media_type="application/json")
