"""A chat template, jinja or Go, and the prompt that it makes of a conversation, up to where the model continues.

A last message of the assistant is not closed: the answer continues it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypura_daemon.chat.answers import harmony
from hypura_daemon.chat.answers.formats import AnswerFormat, format_of
from hypura_daemon.chat.go.interpreter import go_identifiers
from hypura_daemon.chat.prompts.needs import NO_NEEDS, Needs, TemplateBroken, TooSlow, adapted, needs_of
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import Overrides, TemplateStyle

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
"""For models that were trained on plain text. The empty text at the end keeps the line break, which jinja drops."""
PLAIN_STOPS = ("\n\nUser:", "\nUser:")
_HARMONY_LEVELS = {"max": "high"}


@dataclass(frozen=True, slots=True)
class Thinking:
    """requested: whether to think; None leaves that to the template. level: how hard; empty leaves that to it too."""

    requested: bool | None = None
    level: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template, its language, and the format of the answers that it shows."""

    text: str
    style: TemplateStyle
    answer_format: AnswerFormat

    def prompt(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking, bos: str, eos: str
    ) -> str:
        """The prompt for a conversation, which is adapted to what the template needs.

        Raises InvalidRequest. May take seconds, so call it outside the event loop.
        """
        needs = self.needs(tools=bool(tools))
        prefix = ""
        prefilled = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
        if prefilled and (len(messages) > 1 or needs.user_first or needs.some_user):
            prefix, messages = str(messages[-1]["content"]), messages[:-1]
        try:
            prompt = self._rendered(adapted(messages, needs), tools, thinking, bos, eos)
        except TemplateBroken as error:
            raise InvalidRequest(str(error)) from error
        if thinking.requested is False:
            prompt = self.answer_format.without_thinking(prompt)
        if not prefix:
            return prompt
        if self.answer_format.is_harmony:
            return f"{prompt}{harmony.CHANNEL}final{harmony.MESSAGE}{prefix}"
        return (
            self.answer_format.without_thinking(prompt) if self.answer_format.starts_inside(prompt) else prompt
        ) + prefix

    def needs(self, *, tools: bool) -> Needs:
        """What the template needs of conversations. Found by trials the first time, which may take seconds."""
        try:
            return _probed_needs(self.text, self.style, tools)
        except (TooSlow, InvalidRequest):
            return NO_NEEDS  # The error, if any, is raised for the conversation itself.

    @property
    def error(self) -> str:
        """Why the template cannot be used for any conversation; empty if it can. May take as long as `needs`."""
        try:
            _probed_needs(self.text, self.style, False)
        except TemplateBroken as error:
            return str(error)
        except (TooSlow, InvalidRequest):
            pass
        return ""

    def _rendered(
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
        if self.answer_format.is_harmony:
            level = _HARMONY_LEVELS.get(level, level) or ("low" if thinking.requested is False else "")
        return renderer.render(self.text, messages, tools, think=thinking.requested, level=level, bos=bos, eos=eos)


@lru_cache(maxsize=64)
def _probed_needs(text: str, style: TemplateStyle, tools: bool) -> Needs:
    template = Template(text, style, format_of(text))
    return needs_of(
        lambda messages, offered: template._rendered(messages, offered, Thinking(), "<s>", "</s>"),
        tools=tools,
        jinja=style != "go",
    )


def default_template(*, chatml: bool) -> Template:
    """The template for models without a usable one. chatml: the vocabulary has ChatML's control tokens."""
    text = CHATML if chatml else PLAIN
    return Template(text, "jinja", format_of(text))


def _go_prompt(
    template: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], thinking: Thinking
) -> str:
    """The prompt as Ollama renders it: templates that use .Messages at once, older ones turn by turn."""
    from hypura_daemon.chat.prompts.renderer import renderer

    think = {
        "Think": bool(thinking.requested),
        "ThinkLevel": thinking.level,
        "IsThinkSet": thinking.requested is not None,
    }
    if "messages" in go_identifiers(template):
        system = "\n\n".join(str(message["content"]) for message in messages if message["role"] == "system")
        data = {"System": system, "Messages": _collated(messages), "Tools": list(tools), "Response": "", **think}
        return renderer.render_go(template, [data])
    return renderer.render_go(template, [{**turn, **think} for turn in _turns(messages)], until_response=True)


def _collated(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages, with those of one role in a row joined, except tools' results."""
    collated: list[dict[str, Any]] = []
    for message in messages:
        if collated and collated[-1]["role"] == message["role"] != "tool":
            collated[-1]["content"] += "\n\n" + str(message["content"])
            collated[-1]["tool_calls"] = [*collated[-1].get("tool_calls", []), *message.get("tool_calls", [])]
        else:
            collated.append({**message, "thinking": message.get("reasoning_content", "")})
    return collated


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The conversation in turns: a system message, a prompt and a response, each of which may be empty."""
    turns = [{"System": "", "Prompt": "", "Response": ""}]
    places = {"system": "System", "user": "Prompt", "assistant": "Response"}
    for message in _collated(messages):
        place = places.get(message["role"])
        if place is None:
            raise InvalidRequest("the model's template does not support messages of tools; leave them out")
        if any(turns[-1][later] for later in tuple(places.values())[tuple(places).index(message["role"]) :]):
            turns.append({"System": "", "Prompt": "", "Response": ""})
        turns[-1][place] = str(message["content"])
    return turns


def check_template(overrides: Overrides) -> None:
    """Raises InvalidRequest for a template with syntax errors."""
    if overrides.template_style == "go":
        go_identifiers(overrides.template)
    elif overrides.template:
        from hypura_daemon.chat.prompts.jinja import check_syntax  # here: an idle daemon needs no jinja2

        check_syntax(overrides.template)
