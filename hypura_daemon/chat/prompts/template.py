"""The prompt for a conversation: a chat template, jinja or Go, filled in up to where the model goes on.

A last message of the assistant is not closed: the answer goes on with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypura_daemon.chat.answers import harmony
from hypura_daemon.chat.answers.formats import AnswerFormat, format_of
from hypura_daemon.chat.prompts.adapting import NO_NEEDS, Needs, TemplateBroken, TooSlow, adapted, needs_of
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import TemplateStyle

Message = Mapping[str, Any]
LEVELS = ("low", "medium", "high", "max")
CHATML_START = "<|im_start|>"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{{ '' }}"
)
PLAIN = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n"
    "{% elif m.role == 'user' %}User:\n{{ m.content }}\n\n"
    "{% elif m.role == 'assistant' %}Assistant:\n{{ m.content }}\n\n{% endif %}{% endfor %}Assistant:\n{{ '' }}"
)
"""For models that were trained on text alone. What is behind the last line keeps its end: jinja drops the last one."""
PLAIN_STOPS = ("\n\nUser:", "\nUser:")
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
        """The prompt, with what the template needs of a conversation done for it.

        Raises InvalidRequest. May take seconds, so call it outside the event loop.
        """
        needs = self.needs(tools=bool(tools))
        begun = ""
        prefilled = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
        if prefilled and (len(messages) > 1 or needs.user_first or needs.some_user):
            begun, messages = str(messages[-1]["content"]), messages[:-1]
        try:
            prompt = self._filled(adapted(messages, needs), tools, thinking, bos, eos)
        except TemplateBroken as error:
            raise InvalidRequest(str(error)) from error
        if thinking.asked is False:
            prompt = self.form.without_thinking(prompt)
        if not begun:
            return prompt
        if self.form.is_harmony:
            return f"{prompt}{harmony.CHANNEL}final{harmony.MESSAGE}{begun}"
        return (self.form.without_thinking(prompt) if self.form.starts_inside(prompt) else prompt) + begun

    def needs(self, *, tools: bool) -> Needs:
        """What conversations must be like for it; tried once. Takes a moment then, as prompt does."""
        try:
            return _tried(self.text, self.style, tools)
        except (TooSlow, InvalidRequest):
            return NO_NEEDS  # What is wrong with it, the conversation itself will tell.

    @property
    def error(self) -> str:
        """Why the template itself cannot be used for any conversation; empty if it can. Takes a moment, too."""
        try:
            _tried(self.text, self.style, False)
        except TemplateBroken as error:
            return str(error)
        except (TooSlow, InvalidRequest):
            pass
        return ""

    def _filled(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking, bos: str, eos: str
    ) -> str:
        if self.style == "go":
            return _go_prompt(self.text, messages, tools, thinking)
        return self._jinja_prompt(messages, tools, thinking, bos, eos)

    def _jinja_prompt(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking, bos: str, eos: str
    ) -> str:
        from hypura_daemon.chat.prompts.renderer import renderer

        level = thinking.level
        if self.form.is_harmony:
            level = _HARMONY_LEVELS.get(level, level) or ("low" if thinking.asked is False else "")
        return renderer.render(self.text, messages, tools, think=thinking.asked, level=level, bos=bos, eos=eos)


@lru_cache(maxsize=64)
def _tried(text: str, style: TemplateStyle, tools: bool) -> Needs:
    template = Template(text, style, format_of(text))
    return needs_of(
        lambda messages, offered: template._filled(messages, offered, Thinking(), "<s>", "</s>"),
        tools=tools,
        jinja=style != "go",
    )


def default_template(*, chatml: bool) -> Template:
    """The template of a model without one that can be used; chatml: its vocabulary has ChatML's control tokens."""
    text = CHATML if chatml else PLAIN
    return Template(text, "jinja", format_of(text))


def _go_prompt(
    template: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking
) -> str:
    """As Ollama fills its templates in: those that know .Messages at once, older ones turn by turn."""
    from hypura_daemon.chat.go.rendering import go_identifiers
    from hypura_daemon.chat.prompts.renderer import renderer

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
