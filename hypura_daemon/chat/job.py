"""A chat request, with all that is decided before its model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.answers.formats import format_of
from hypura_daemon.chat.constraints import NONE, Requirements, check_requirements, constraint, requirements_of
from hypura_daemon.chat.conversation import chat_template, for_template, template_messages
from hypura_daemon.chat.defaults import limits_with, sampling_with, use_with
from hypura_daemon.chat.parts import Parser
from hypura_daemon.chat.prompts.control_texts import NO_CONTROLS, ControlTexts, Prompt, rendered
from hypura_daemon.chat.prompts.template import (
    CHATML_START,
    LEVELS,
    PLAIN,
    PLAIN_STOPS,
    Template,
    Thinking,
    default_template,
)
from hypura_daemon.chat.request import ChatRequest, checked_size
from hypura_daemon.chat.tools import Toolbox, toolbox
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.model import Model, templated
from hypura_daemon.models.overrides import Overrides, style_of
from hypura_daemon.residency.lease import Use


@dataclass(frozen=True, slots=True)
class ChatJob:
    """messages and tools are in the form for templates; the toolbox is for parsing the answer."""

    template: Template
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    toolbox: Toolbox
    thinking: Thinking
    requirements: Requirements
    sampling: inference_pb2.Sampling
    limits: inference_pb2.Limits
    use: Use
    trained_tokens: int
    context: tuple[int, ...]
    report_prompt_ids: bool
    size_bytes: int
    is_files_template: bool = False

    def usable(self) -> "ChatJob":
        """This job, with the default template if that of the model's file cannot be used.

        Raises InvalidRequest. May take seconds, so call it outside the event loop.
        """
        if not self.is_files_template:
            return self
        error = self.template.error if self.template.text else ""
        if self.template.text and not error:
            return self
        if self.tools:
            raise InvalidRequest(error or "the model has no chat template, so it cannot be offered tools")
        limits = inference_pb2.Limits()
        limits.CopyFrom(self.limits)
        limits.stop.extend(stop for stop in PLAIN_STOPS if stop not in limits.stop)
        return replace(self, template=default_template(chatml=False), limits=limits)

    @property
    def own_stops(self) -> frozenset[str]:
        """Stop strings of the default template, which are not reported to clients."""
        return frozenset(PLAIN_STOPS) if self.template.text == PLAIN else frozenset()

    def prompt(self, bos: str, eos: str, first: int = 0, controls: ControlTexts = NO_CONTROLS) -> Prompt:
        """The prompt, without the messages before number `first`, except those of the system.

        Raises InvalidRequest. May take seconds, so call it outside the event loop.
        """
        kept = [m for i, m in enumerate(self.messages) if i >= first or m["role"] == "system"]
        template = self.template
        if template.text == PLAIN and CHATML_START in controls:
            template = default_template(chatml=True)
        return rendered(
            lambda data: template.prompt(data[0], data[1], self.thinking, bos, eos), [kept, self.tools], controls
        )

    def constraint(self, prompt: str) -> worker_pb2.Constraint:
        """The constraint of the answer to this prompt."""
        return constraint(
            self.requirements, self.template.answer_format, prompt, may_think=self.thinking.requested is not False
        )

    def parser(self, prompt: str) -> Parser:
        """A parser for the answer to this prompt."""
        return self.template.answer_format.parser(prompt, self.toolbox)

    @property
    def visible_tokens(self) -> tuple[str, ...]:
        """The control tokens that the parser needs to see."""
        return self.template.answer_format.visible(self.toolbox)

    @property
    def starts(self) -> list[int]:
        """Where a shortened conversation may begin: at a later user's turn, or else at the last message."""
        turns = [i for i, message in enumerate(self.messages) if message["role"] == "user" and i > 0]
        return turns or [len(self.messages) - 1]


def chat_job(request: ChatRequest, model: Model, overrides: Overrides) -> ChatJob:
    """The job of a request, checked against the model and completed with its overrides. Raises InvalidRequest."""
    size_bytes = checked_size(request)
    messages = template_messages(request.messages)
    tools = [] if request.tool_choice == NONE else list(request.tools)
    offered = toolbox(tools)
    template = _template(request.template, model, overrides, with_tools=bool(tools))
    if template is None:
        raise InvalidRequest(f'"{request.model}" does not support chat')
    capabilities = model.capabilities
    if request.template:
        capabilities = templated(capabilities, request.template, style_of(request.template))
    thinking = _thinking(request, able="thinking" in capabilities)
    for requested, name in ((bool(tools), "tools"), (bool(thinking.requested), "thinking")):
        if requested and name not in capabilities:
            raise InvalidRequest(f'"{request.model}" does not support {name}')
    if not request.context:
        messages = [{"role": role, "content": content} for role, content in overrides.messages] + messages
        if overrides.system and not any(message["role"] == "system" for message in messages):
            messages = [{"role": "system", "content": overrides.system}, *messages]
    limits = limits_with(request.limits, overrides.parameters)
    requirements = requirements_of(limits.json_schema, limits.grammar, offered, request.tool_choice)
    check_requirements(requirements, template.answer_format)
    return ChatJob(
        template=template,
        messages=for_template(messages, template.text),
        tools=tools,
        toolbox=offered,
        thinking=thinking,
        requirements=requirements,
        sampling=sampling_with(request.sampling, overrides.parameters),
        limits=limits,
        use=use_with(request.use, overrides.parameters, model.hyperparameters.context_length),
        trained_tokens=model.hyperparameters.context_length,
        context=tuple(request.context),
        report_prompt_ids=request.report_prompt_ids,
        size_bytes=size_bytes,
        is_files_template=not request.template and not overrides.template,
    )


def adaptations(model: Model, overrides: Overrides) -> list[str]:
    """How conversations are adapted to what the model's template can take, in sentences.

    May take seconds, so call it outside the event loop.
    """
    template = _template("", model, overrides, with_tools=False)
    if template is None:
        return []
    if not template.text:
        return [
            "The file has no chat template: conversations are written as ChatML, or as lines that begin with User:."
        ]
    if not overrides.template and template.error:
        return [
            "The file's chat template cannot be used: conversations are written as ChatML, or as lines that begin "
            f"with User: ({template.error})."
        ]
    found = dict.fromkeys(template.needs(tools=False).sentences)
    if "tools" in model.capabilities and (with_tools := _template("", model, overrides, with_tools=True)):
        found |= dict.fromkeys(
            f"With tools: {one}" for one in with_tools.needs(tools=True).sentences if one not in found
        )
    return list(found)


def _template(requested: str, model: Model, overrides: Overrides, *, with_tools: bool) -> Template | None:
    """The template of the request, the Modelfile, or the file, which may be empty; None if the model cannot chat."""
    if "completion" not in model.capabilities:
        return None
    if requested:
        return Template(requested, style_of(requested), format_of(requested))
    if overrides.template:
        return Template(overrides.template, overrides.template_style, format_of(overrides.template))
    text = chat_template(model.metadata, with_tools=with_tools)
    return Template(text, "jinja", format_of(text))


def _thinking(request: ChatRequest, *, able: bool) -> Thinking:
    level = request.think_level
    if level and level not in LEVELS:
        raise InvalidRequest(f"think_level is {level[:40]!r}; give one of {', '.join(LEVELS)}, or leave it out")
    requested = request.think
    if requested is None and (able if request.think_if_able else level):
        requested = True
    return Thinking(requested, level if requested else "")
