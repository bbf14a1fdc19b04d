"""The form that an answer must have, and how hard the model shall think about it."""

import json
from typing import Any

from pydantic import ConfigDict, Field

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

ANY_OBJECT = "{}"
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max", "max": "max"}


class Schema(Asked):
    """A named JSON schema."""

    model_config = ConfigDict(populate_by_name=True)

    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class Format(Schema):
    """text, json_object or json_schema; responses have the schema's fields beside the type."""

    type: str = "text"
    json_schema: Schema | None = None


class Reasoning(Asked):
    """How to think, in the form of the responses API."""

    effort: str | None = None
    enabled: bool | None = None
    summary: str | None = None


def schema_json(form: Format | None, field: str) -> str:
    """The JSON schema that the answer must fit, as text; empty for none. Raises InvalidRequest."""
    match form.type if form else "text":
        case "text":
            return ""
        case "json_object" | "json_schema" if form is not None:
            # OpenAI's schema is optional, and llama-server and others take one with json_object, too.
            schema = form.json_schema.schema_ if form.json_schema else form.schema_
            return ANY_OBJECT if schema is None else json.dumps(schema)
    raise InvalidRequest(f"{field} has a type that is not known; give text, json_object or json_schema")


def thinking(effort: str | None, enabled: bool | None = None) -> tuple[bool | None, str]:
    """think and think_level of a ChatRequest; the model's default where nothing is said. Raises InvalidRequest."""
    if effort == "none" or enabled is False:
        return False, ""
    if effort is None:
        return enabled, ""
    if effort not in _LEVELS:
        raise InvalidRequest(f"the reasoning effort is {effort[:40]!r}; give none, {', '.join(_LEVELS)}")
    return True, _LEVELS[effort]
