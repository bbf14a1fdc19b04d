"""The demo model's chat template, and its rendering for training and evaluation.

The same jinja2 options and filters as hypura's own renderer, without its guards against foreign
templates: those trace every line and would make data generation many times slower.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.demo_model.conversation import Conversation, Message

TEMPLATE_PATH = Path(__file__).with_name("chat_template.jinja")


def template_source() -> str:
    """The template's text, as it goes into the GGUF."""
    return TEMPLATE_PATH.read_text(encoding="utf-8")


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["tojson"] = _tojson
    return environment.from_string(template_source())


def render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    think: bool = False,
    prompt: bool = True,
) -> str:
    """The conversation as text; with prompt, up to where the assistant's answer begins."""
    return _template().render(
        messages=[message.for_template() for message in messages],
        tools=[dict(tool) for tool in tools] or None,
        enable_thinking=think,
        add_generation_prompt=prompt,
    )


def render_whole(conversation: Conversation) -> str:
    """The conversation with its last answer, for training."""
    return render(conversation.messages, conversation.tools, think=conversation.think, prompt=False)
