"""A conversation of the demo model's data, with the check that an answer to it must pass."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function that was on offer."""

    name: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. role is system, user, assistant or tool."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""

    def for_template(self) -> dict[str, Json]:
        """The keys that chat templates know."""
        item: dict[str, Json] = {"role": self.role, "content": self.content}
        if self.thinking:
            item["reasoning_content"] = self.thinking
        if self.tool_calls:
            item["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
                for call in self.tool_calls
            ]
        if self.tool_name:
            item["name"] = self.tool_name
        return item


@dataclass(frozen=True, slots=True)
class Check:
    """How an answer is graded: the grader's name in graders.py, and what it compares with."""

    grader: str
    key: Json = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that end with the assistant's right answer. tools are in OpenAI's form."""

    kind: str
    messages: tuple[Message, ...]
    check: Check
    tools: tuple[Mapping[str, Json], ...] = ()
    think: bool = False
    schema: Mapping[str, Json] | None = None

    @property
    def asked(self) -> tuple[Message, ...]:
        """The messages without the last answer."""
        return self.messages[:-1]

    def with_system(self, text: str) -> "Conversation":
        """The same with a system prompt in front."""
        return replace(self, messages=(Message("system", text), *self.messages))


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is learned as a whole; may hold fill-in-the-middle tokens."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    well_formed: bool = True
    thinking: str = field(default="")


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str, thinking: str = "") -> Message:
    return Message("assistant", text, thinking)


def single(kind: str, question: str, answer: str, check: Check, thinking: str = "") -> Conversation:
    """One question and its answer; thought about when thinking is given."""
    return Conversation(kind, (user(question), assistant(answer, thinking)), check, think=bool(thinking))


def compact_json(value: Json) -> str:
    """JSON as chat templates write it."""
    return json.dumps(value, ensure_ascii=False)
