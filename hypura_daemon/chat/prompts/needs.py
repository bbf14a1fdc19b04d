"""What a chat template needs of conversations, and conversations adapted to that, no further than necessary.

    template ─► small conversations, rendered once ─► Needs ─► each conversation, changed by them ─► template

Needs are found by trials: if a template refuses a conversation, or leaves a part of it out, and takes it in another
form, that form is used. If no form helps, the conversation stays as it is, and the template's own error is raised.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hypura_daemon.errors import InvalidRequest

Message = Mapping[str, Any]
Render = Callable[[Sequence[Message], Sequence[Mapping[str, Any]]], str]
"""The prompt for messages and tools. Raises InvalidRequest."""
PROBE_SECONDS = 5.0
"""Trials end so long after the first, which may have to start a process."""
_BETWEEN = "\n\n"
_NO_MESSAGE = "(no message)"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a template needs of conversations; see SENTENCES."""

    no_system: bool = False
    one_system: bool = False
    first_system: bool = False
    some_user: bool = False
    alternating: bool = False
    user_first: bool = False
    no_empty: bool = False
    no_calls: bool = False
    no_results: bool = False
    text_arguments: bool = False
    null_content: bool = False
    parts: bool = False

    @property
    def sentences(self) -> list[str]:
        """How conversations are adapted, in words."""
        return [SENTENCES[field.name] for field in fields(self) if getattr(self, field.name)]


SENTENCES = {
    "no_system": "System messages are put before the user's next message: the template does not support them.",
    "one_system": "System messages at the start are joined into one: the template takes only one.",
    "first_system": "Later system messages are put before the user's next message: the template takes them only at the "
    "start.",
    "some_user": "A conversation without the user gets an empty message of the user, or its last system message "
    "becomes the user's: the template requires one.",
    "alternating": "Messages of one role in a row are joined: the template requires roles to alternate.",
    "user_first": "An empty message of the user is put before a conversation that the assistant begins: the template "
    "requires that.",
    "no_empty": f'A user\'s empty message is written as "{_NO_MESSAGE}": the template refuses empty ones.',
    "no_calls": "The assistant's calls of tools are written as text: the template leaves them out.",
    "no_results": "Results of tools are written as the user's messages: the template does not support them.",
    "text_arguments": "The arguments of calls are given to the template as JSON text.",
    "null_content": "Messages with calls and no text are given to the template without content.",
    "parts": "Contents are given to the template as lists of parts: it does not take text.",
}
NO_NEEDS = Needs()

_WORDS = ("zqsystem", "zqagain", "zquser", "zqanswer", "zqnext", "zqmore", "zqtool", "zqcity", "zqresult")
_SYSTEM, _AGAIN, _USER, _ANSWER, _NEXT, _MORE, _NAME, _CITY, _RESULT = _WORDS
PROBED_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Tells.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "A city."}},
            "required": ["city"],
        },
    },
}


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


_S, _S2, _U, _U2 = (
    _message("system", _SYSTEM),
    _message("system", _AGAIN),
    _message("user", _USER),
    _message("user", _NEXT),
)
_A, _A2 = _message("assistant", _ANSWER), _message("assistant", _MORE)
_CALL = {"id": "callcall1", "type": "function", "function": {"name": _NAME, "arguments": {"city": _CITY}}}
_CALLED: list[Message] = [
    _U,
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "content": _RESULT, "name": _NAME, "tool_name": _NAME, "tool_call_id": "callcall1"},
]
_CONVERSATIONS: tuple[tuple[str, *tuple[list[Message], ...]], ...] = (
    ("no_system", [_S, _U]),
    ("alternating", [_U, _U2], [_U, _A, _A2, _U2]),
    ("one_system", [_S, _S2, _U]),
    ("first_system", [_S, _U, _A, _S2, _U2]),
    ("user_first", [_A, _U]),
    ("some_user", [_S], [_A]),
    ("no_empty", [_message("user", ""), _A, _U2]),
)
"""Conversations by which each need is found: a template without the need renders them completely."""
_CALL_WAYS: tuple[tuple[str, ...], ...] = (
    (), ("text_arguments",), ("null_content",), ("text_arguments", "null_content"), ("no_calls",), ("no_results",),
    ("no_calls", "no_results"),
)  # fmt: skip
"""Ways of writing calls and their results, the best first."""


class TemplateBroken(InvalidRequest):
    """The template cannot be parsed, or fails by itself, rather than refusing the conversation."""


class TooSlow(Exception):
    """The trials of a template took too long."""


def needs_of(render: Render, *, tools: bool, jinja: bool) -> Needs:
    """What the template needs, found by trials; with an offered tool or without.

    jinja: it is a jinja template, which may require other content than plain text. Raises TooSlow after PROBE_SECONDS,
    and InvalidRequest if it renders no conversation at all.
    """
    deadline = 0.0
    offered = [PROBED_TOOL] if tools else []

    def shows(messages: Sequence[Message], needs: Needs, *words: str) -> bool:
        """Whether the prompt for these messages has all words."""
        nonlocal deadline
        try:
            prompt = render(adapted(messages, needs), offered)
        except InvalidRequest:
            prompt = ""
        deadline = deadline or time.monotonic() + PROBE_SECONDS
        if time.monotonic() > deadline:
            raise TooSlow
        return bool(prompt) and all(word in prompt for word in words)

    needs = NO_NEEDS
    if not shows([_U], needs, _USER):
        if jinja and shows([_U], Needs(parts=True), _USER):
            needs = Needs(parts=True)
        elif not shows([_S, _U], needs, _USER):
            render([_U], offered)
            return needs
    for name, *conversations in _CONVERSATIONS:
        if needs.no_system and name in ("one_system", "first_system", "some_user"):
            continue
        changed = replace(needs, **{name: True})
        wanted = [(messages, [word for word in _WORDS if word in str(messages)]) for messages in conversations]
        if not all(shows(messages, needs, *words) for messages, words in wanted) and all(
            shows(messages, changed, *words) for messages, words in wanted
        ):
            needs = changed
    for way in _CALL_WAYS:
        changed = replace(needs, **dict.fromkeys(way, True))
        # Not the name: some templates have it only in the call's id.
        if (jinja or not {"text_arguments", "null_content"} & set(way)) and shows(_CALLED, changed, _CITY, _RESULT):
            return changed
    return needs


def adapted(messages: Sequence[Message], needs: Needs) -> list[Message]:
    """The conversation in the form for a template with these needs. Pure."""
    result = [dict(message) for message in messages]
    result = [_without_tools(message, needs) for message in result]
    if needs.no_system or needs.one_system or needs.first_system:
        result = _systems(result, needs)
    start = next((i for i, message in enumerate(result) if message["role"] != "system"), len(result))
    alone = needs.some_user and all(message["role"] != "user" for message in result)
    if alone and result and start == len(result):
        result[-1]["role"] = "user"
    elif alone or (needs.user_first and (start == len(result) or result[start]["role"] == "assistant")):
        result.insert(start, {"role": "user", "content": ""})
    if needs.alternating:
        result = _joined(result)
    for message in result:
        if needs.no_empty and message["role"] == "user" and not message["content"]:
            message["content"] = _NO_MESSAGE
        if needs.text_arguments and message.get("tool_calls"):
            message["tool_calls"] = [_with_text(call) for call in message["tool_calls"]]
        if needs.null_content and message.get("tool_calls") and not message["content"]:
            message["content"] = None
        if needs.parts and isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
    return list(result)


def _without_tools(message: dict[str, Any], needs: Needs) -> dict[str, Any]:
    if needs.no_results and message["role"] == "tool":
        name = f" of {message['name']}" if message.get("name") else ""
        return {"role": "user", "content": f"Result{name}: {message['content']}"}
    calls = message.get("tool_calls")
    if not calls or not needs.no_calls:
        return message
    texts = [
        json.dumps({key: call["function"][key] for key in ("name", "arguments")}, ensure_ascii=False) for call in calls
    ]
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": _text(message["content"], *texts)}


def _systems(messages: Sequence[dict[str, Any]], needs: Needs) -> list[dict[str, Any]]:
    """The system's messages where the template takes them; the others are put before the user's next message."""
    result: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        role = message["role"]
        if role == "system":
            leads = all(before["role"] == "system" for before in result) and not waiting
            if needs.no_system or (needs.first_system and not leads):
                waiting.append(message["content"])
            elif needs.one_system and leads and result:
                result[0]["content"] = _text(result[0]["content"], message["content"])
            else:
                result.append(message)
            continue
        if waiting and role == "user":
            message["content"] = _text(*waiting, message["content"])
            waiting = []
        elif waiting and role == "assistant":
            result.append({"role": "user", "content": _text(*waiting)})
            waiting = []
        result.append(message)
    return [*result, {"role": "user", "content": _text(*waiting)}] if waiting else result


def _joined(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, with those of one role in a row joined, except tools' results."""
    result: list[dict[str, Any]] = []
    for message in messages:
        last = result[-1] if result else None
        if last is None or message["role"] == "tool" or last["role"] != message["role"]:
            result.append(message)
            continue
        for key in ("content", "thinking", "reasoning_content"):
            if last.get(key) or message.get(key):
                last[key] = _text(last.get(key) or "", message.get(key) or "")
        if last.get("tool_calls") or message.get("tool_calls"):
            last["tool_calls"] = [*last.get("tool_calls", ()), *message.get("tool_calls", ())]
    return result


def _with_text(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


def _text(*texts: str) -> str:
    return _BETWEEN.join(text for text in texts if text)
