"""A conversation as chat templates want it, out of a chat request's JSON parts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_JSON_CHARACTERS = 1 << 24


def _objects(text: str, what: str) -> list[dict[str, Any]]:
    """A JSON array of objects, or nothing for no text."""
    if not text:
        return []
    if len(text) > MAX_JSON_CHARACTERS:
        raise InvalidRequest(f"{what} has {len(text)} characters; {MAX_JSON_CHARACTERS} are allowed")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{what} is no valid JSON: {error}; give a JSON array of objects") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{what} is {text[:80]!r}; give a JSON array of objects")
    return value


def _tool_call(call: dict[str, Any], what: str) -> dict[str, Any]:
    """One call with its arguments as an object: templates pass them through tojson themselves."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest(f'{what} is {str(call)[:80]!r}; give {{"function": {{"name", "arguments"}}}}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments else {}
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{what} has arguments that are no valid JSON: {error}") from error
    return {"type": "function", **call, "function": {**function, "arguments": arguments}}


def template_messages(messages: Sequence[inference_pb2.ChatMessage]) -> list[dict[str, Any]]:
    """The messages with the keys that Hugging Face's templates know. Raises InvalidRequest."""
    if not messages:
        raise InvalidRequest("the conversation has no message; give at least one")
    result: list[dict[str, Any]] = []
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            raise InvalidRequest(f"message {number} has role {message.role!r}; give one of {', '.join(ROLES)}")
        item: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.thinking:
            item["reasoning_content"] = message.thinking
        if message.tool_calls_json:
            what = f"tool_calls of message {number}"
            item["tool_calls"] = [_tool_call(call, what) for call in _objects(message.tool_calls_json, what)]
        if message.tool_name:
            item["name"] = message.tool_name
        if message.tool_call_id:
            item["tool_call_id"] = message.tool_call_id
        result.append(item)
    return result


def template_tools(tools_json: str) -> list[dict[str, Any]]:
    """The tools on offer. Raises InvalidRequest."""
    return _objects(tools_json, "tools")


def chat_template(metadata: Mapping[str, Any], model: str, *, with_tools: bool) -> str:
    """The model's template, its variant for tools where it has one. Raises InvalidRequest if it has none."""
    variants = ["tokenizer.chat_template"]
    if with_tools:
        variants.insert(0, "tokenizer.chat_template.tool_use")
    for key in variants:
        template = metadata.get(key)
        if isinstance(template, str) and template.strip():
            return template
    raise InvalidRequest(f'"{model}" does not support chat: its file has no chat template; use Generate with a prompt')
