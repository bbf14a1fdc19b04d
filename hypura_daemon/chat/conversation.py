"""A conversation in the form for chat templates, from a chat request's messages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypura_daemon.chat.answers import harmony
from hypura_daemon.chat.request import ChatMessage
from hypura_daemon.errors import InvalidRequest

ROLES = ("system", "developer", "user", "assistant", "tool")


def _tool_call(call: Mapping[str, Any], what: str) -> dict[str, Any]:
    """One call with its arguments as an object: templates pass them through tojson themselves."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidRequest(f'{what} is {str(call)[:80]!r}; give {{"function": {{"name", "arguments"}}}}')
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            pass  # A model wrote them so, and sees them unchanged.
    return {"type": "function", **call, "function": {**function, "arguments": arguments}}


def template_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The messages with the keys that Hugging Face's templates use. Raises InvalidRequest."""
    if not messages:
        raise InvalidRequest("the conversation has no message; give at least one")
    result: list[dict[str, Any]] = []
    for number, message in enumerate(messages, start=1):
        if message.role not in ROLES:
            raise InvalidRequest(f"message {number} has role {message.role!r}; give one of {', '.join(ROLES)}")
        item: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.thinking:
            item["reasoning_content"] = item["thinking"] = message.thinking
        if message.tool_calls:
            item["tool_calls"] = [_tool_call(call, f"tool_calls of message {number}") for call in message.tool_calls]
        if message.tool_name:
            item["name"] = message.tool_name
        if message.tool_call_id:
            item["tool_call_id"] = message.tool_call_id
        result.append(item)
    return result


def for_template(messages: Sequence[Mapping[str, Any]], template: str) -> list[dict[str, Any]]:
    """The messages in the form for this template.

    A developer's messages become the system's if the template does not know developers. Calls and results without ids
    get ids, in order; they have nine letters if the template requires that. A tool's result gets its tool's name.
    """
    short = "== 9" in template or "!= 9" in template
    result: list[dict[str, Any]] = []
    waiting: list[tuple[str, str]] = []  # Id and name of the calls without a result so far.
    names: dict[str, str] = {}
    for message in messages:
        item = dict(message)
        if item["role"] == "developer" and "developer" not in template:
            item["role"] = "system"
        if item.get("tool_calls"):
            calls = [
                {**call, "id": call.get("id") or f"call_{len(names) + i}"} for i, call in enumerate(item["tool_calls"])
            ]
            waiting += [(call["id"], call["function"]["name"]) for call in calls]
            names |= {call["id"]: call["function"]["name"] for call in calls}
            item["tool_calls"] = [{**call, "id": _short_id(call["id"])} for call in calls] if short else calls
            if ".items()" in template or "|items" in template:
                item["tool_calls"] = [_with_object(call) for call in item["tool_calls"]]
            if item.get("thinking") and item["content"] and harmony.CHANNEL in template:
                del item["thinking"]  # gpt-oss allows only one of them beside calls.
        if item["role"] == "tool":
            given = item.get("tool_call_id") or _answered_call(waiting, item.get("name", ""))
            waiting = [call for call in waiting if call[0] != given]
            if given:
                item["tool_call_id"] = _short_id(given) if short else given
            if given in names:
                item.setdefault("name", names[given])
            if "name" in item:
                item["tool_name"] = item["name"]
        result.append(item)
    return result


def _with_object(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """The call with an object as its arguments, for a template that iterates over them."""
    function = call["function"]
    if isinstance(function["arguments"], Mapping):
        return call
    return {**call, "function": {**function, "arguments": {"arguments": function["arguments"]}}}


def _answered_call(waiting: Sequence[tuple[str, str]], name: str) -> str:
    """The id of the first call without a result of this tool, or of any tool if the name is empty; empty for none."""
    return next((number for number, called in waiting if not name or called == name), "")


def _short_id(number: str) -> str:
    """Nine letters and digits for an id, the same for the same id."""
    if len(number) == 9 and number.isascii() and number.isalnum():
        return number
    return hashlib.sha256(number.encode()).hexdigest()[:9]


def chat_template(metadata: Mapping[str, Any], *, with_tools: bool) -> str:
    """The template of a model's file, with tools its variant for tools if there is one; empty if there is none."""
    variants = ["tokenizer.chat_template"]
    if with_tools:
        variants.insert(0, "tokenizer.chat_template.tool_use")
    for key in variants:
        template = metadata.get(key)
        if isinstance(template, str) and template.strip():
            return template
    return ""
