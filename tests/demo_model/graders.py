"""Graders: whether an answer is right, by the name in a conversation's check."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.demo_model.conversation import Answer, Conversation

Json = Any


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _words(answer: Answer, key: Json) -> bool:
    return not answer.tool_calls and all(_has(answer.text, word) for word in key)


def _exact(answer: Answer, key: Json) -> bool:
    return bool(answer.text.strip() == key)


def _number(answer: Answer, key: Json) -> bool:
    numbers = re.findall(r"-?\d+", answer.text)
    return bool(numbers) and int(numbers[-1]) == key


def _tool_call(answer: Answer, key: Json) -> bool:
    if not answer.well_formed or len(answer.tool_calls) != 1:
        return False
    call = answer.tool_calls[0]
    return call.name == key["name"] and dict(call.arguments) == dict(key["arguments"])


def _no_tool_call(answer: Answer, key: Json) -> bool:
    return answer.well_formed and not answer.tool_calls and _words(answer, key)


def _json(answer: Answer, key: Json) -> bool:
    try:
        return bool(json.loads(answer.text) == key)
    except ValueError:
        return False


def _upper(answer: Answer, key: Json) -> bool:
    return answer.text.isupper()


def _lower(answer: Answer, key: Json) -> bool:
    return answer.text.islower()


def _brief(answer: Answer, key: Json) -> bool:
    return _has(answer.text, key) and len(answer.text) <= len(key) + 3


def _ends(answer: Answer, key: Json) -> bool:
    return answer.text.rstrip(".!").endswith(key)


def _story(answer: Answer, key: Json) -> bool:
    return answer.text.count(".") >= 4 and key in answer.text


GRADERS: Mapping[str, Callable[[Answer, Json], bool]] = {
    "words": _words,
    "exact": _exact,
    "number": _number,
    "tool_call": _tool_call,
    "no_tool_call": _no_tool_call,
    "json": _json,
    "upper": _upper,
    "lower": _lower,
    "brief": _brief,
    "ends": _ends,
    "story": _story,
}


def is_right(conversation: Conversation, answer: Answer) -> bool:
    """Whether the answer passes the conversation's check."""
    return GRADERS[conversation.check.grader](answer, conversation.check.key)


def fits_schema(value: Json, schema: Mapping[str, Json]) -> bool:
    """Whether a JSON value fits the part of JSON schema that the data uses."""
    kinds: Mapping[str, Callable[[Json], bool]] = {
        "object": lambda item: isinstance(item, dict),
        "array": lambda item: isinstance(item, list),
        "string": lambda item: isinstance(item, str),
        "integer": lambda item: isinstance(item, int) and not isinstance(item, bool),
        "number": lambda item: isinstance(item, int | float) and not isinstance(item, bool),
        "boolean": lambda item: isinstance(item, bool),
    }
    if not kinds[schema["type"]](value) or ("enum" in schema and value not in schema["enum"]):
        return False
    if schema["type"] == "array":
        return all(fits_schema(item, schema["items"]) for item in value)
    if schema["type"] == "object":
        properties = schema["properties"]
        known = all(name in properties and fits_schema(item, properties[name]) for name, item in value.items())
        return known and all(name in value for name in schema.get("required", ()))
    return True


def is_valid_json(conversation: Conversation, answer: Answer) -> bool:
    """Whether the answer is JSON that fits the conversation's schema, right or wrong."""
    if conversation.schema is None:
        raise ValueError(f"a conversation of kind {conversation.kind!r} has no schema; ask for its other score")
    try:
        value = json.loads(answer.text)
    except ValueError:
        return False
    return fits_schema(value, conversation.schema)
