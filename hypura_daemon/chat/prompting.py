"""The prompt for a conversation: a chat template, jinja or Go, filled in up to where the model goes on.

A last message of the assistant is not closed: the answer goes on with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypura_daemon.chat import harmony
from hypura_daemon.chat.formats import AnswerFormat
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import TemplateStyle

Message = Mapping[str, Any]
LEVELS = ("low", "medium", "high", "max")
_HARMONY_LEVELS = {"max": "high"}


@dataclass(frozen=True, slots=True)
class Thinking:
    """asked: whether to think, None leaves it to the template; level: how hard, empty leaves that to it."""

    asked: bool | None = None
    level: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template and the language it is written in."""

    text: str
    style: TemplateStyle
    form: AnswerFormat

    def prompt(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking, bos: str, eos: str
    ) -> str:
        """The prompt. Raises InvalidRequest. May take seconds, so call it outside the event loop."""
        begun = ""
        if len(messages) > 1 and messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls"):
            begun, messages = str(messages[-1]["content"]), messages[:-1]
        if self.style == "go":
            prompt = _go_prompt(self.text, messages, tools, thinking)
        else:
            prompt = self._jinja_prompt(messages, tools, thinking, bos, eos)
        if thinking.asked is False:
            prompt = self.form.without_thinking(prompt)
        if not begun:
            return prompt
        if self.form.is_harmony:
            return f"{prompt}{harmony.CHANNEL}final{harmony.MESSAGE}{begun}"
        return (self.form.without_thinking(prompt) if self.form.starts_inside(prompt) else prompt) + begun

    def _jinja_prompt(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking, bos: str, eos: str
    ) -> str:
        from hypura_daemon.chat.renderer import renderer

        level = thinking.level
        if self.form.is_harmony:
            level = _HARMONY_LEVELS.get(level, level) or ("low" if thinking.asked is False else "")
        return renderer.render(self.text, messages, tools, think=thinking.asked, level=level, bos=bos, eos=eos)


def _go_prompt(
    template: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking
) -> str:
    """As Ollama fills its templates in: those that know .Messages at once, older ones turn by turn."""
    from hypura_daemon.chat.go_template import go_identifiers
    from hypura_daemon.chat.renderer import renderer

    think = {
        "Think": bool(thinking.asked),
        "ThinkLevel": thinking.level,
        "IsThinkSet": thinking.asked is not None,
    }
    if "messages" in go_identifiers(template):
        system = "\n\n".join(str(message["content"]) for message in messages if message["role"] == "system")
        data = {"System": system, "Messages": _collated(messages), "Tools": list(tools), "Response": "", **think}
        return renderer.render_go(template, [data])
    return renderer.render_go(template, [{**turn, **think} for turn in _turns(messages)], until_response=True)


def _collated(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages of one role in a row become one, but for tools' answers."""
    collated: list[dict[str, Any]] = []
    for message in messages:
        if collated and collated[-1]["role"] == message["role"] != "tool":
            collated[-1]["content"] += "\n\n" + str(message["content"])
            collated[-1]["tool_calls"] = [*collated[-1].get("tool_calls", []), *message.get("tool_calls", [])]
        else:
            collated.append({**message, "thinking": message.get("reasoning_content", "")})
    return collated


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """A turn is a system message, a prompt and a response, each of which may be empty."""
    turns = [{"System": "", "Prompt": "", "Response": ""}]
    places = {"system": "System", "user": "Prompt", "assistant": "Response"}
    for message in _collated(messages):
        place = places.get(message["role"])
        if place is None:
            raise InvalidRequest("the model's template has no place for messages of tools; leave them out")
        if any(turns[-1][later] for later in tuple(places.values())[tuple(places).index(message["role"]) :]):
            turns.append({"System": "", "Prompt": "", "Response": ""})
        turns[-1][place] = str(message["content"])
    return turns
