# ruff: noqa: E501 (templates, a branch a line)
"""Conversations adapted to templates with limits: templates of each style, written for these tests, are rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hypura_daemon.chat.answers.formats import format_of
from hypura_daemon.chat.prompts import needs as module
from hypura_daemon.chat.prompts.needs import NO_NEEDS, Needs, TemplateBroken, adapted
from hypura_daemon.chat.prompts.template import CHATML, PLAIN, Template, Thinking
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import TemplateStyle

GEMMA_2 = """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}
{%- for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}
{%- set role = 'model' if m.role == 'assistant' else m.role %}
<start_of_turn>{{ role }}
{{ m.content | trim }}<end_of_turn>{% endfor %}
<start_of_turn>model"""
LLAMA_2 = """{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0].content %}
{%- else %}{% set rest = messages %}{% set system = '' %}{% endif %}{% for m in rest %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate u/a') }}{% endif %}
{%- if m.role == 'user' %}<s>[INST] {% if loop.first and system %}<<SYS>>{{ system }}<</SYS>>{% endif %}{{ m.content }} [/INST]
{%- elif m.role == 'assistant' %} {{ m.content }} </s>{% endif %}{% endfor %}"""
MISTRAL = """{% set ns = namespace(user=true) %}{% for m in messages %}{% if m.role == 'system' and not loop.first %}
{{- raise_exception('the system comes first') }}{% endif %}
{%- if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}{% if (m.role == 'user') != ns.user %}
{{- raise_exception('after the system, roles must alternate') }}{% endif %}{% set ns.user = not ns.user %}{% endif %}{% endfor %}
{%- for m in messages %}{% if m.role == 'system' %}{{ m.content }}
{%- elif m.role == 'user' %}[INST]{{ m.content }}[/INST]{% elif m.tool_calls %}[TOOL_CALLS] [
{%- for call in m.tool_calls %}{% if call.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}
{{- {'name': call.function.name, 'arguments': call.function.arguments, 'id': call.id} | tojson }}{% endfor %}]
{%- elif m.role == 'assistant' %}{{ m.content }}</s>{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]
{%- endif %}{% endfor %}"""
PHI = """{% for m in messages %}{% if m.role in ('system', 'user') %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% elif m.role == 'assistant' %}<|assistant|>
{{ m.content }}<|end|>
{% endif %}{% endfor %}<|assistant|>
"""
DEEPSEEK = """{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<User>{{ m.content }}
{%- elif m.role == 'assistant' and m.content is none %}{% for call in m.tool_calls %}<call>{{ call.function.name }}
{{- '\\n```json\\n' + call.function.arguments + '\\n```' }}{% endfor %}{% elif m.role == 'assistant' %}<Bot>{{ m.content }}
{%- elif m.role == 'tool' %}<output>{{ m.content }}</output>{% endif %}{% endfor %}<Bot>"""
COMMAND_R = """{% if messages[0].role == 'system' %}<SYS>{{ messages[0].content }}{% set rest = messages[1:] %}{% else %}
{%- set rest = messages %}{% endif %}{% for m in rest %}{% if m.role == 'user' %}<user>{{ m.content }}
{%- elif m.role == 'assistant' and m.content %}<BOT>{{ m.content }}{% endif %}{% endfor %}<BOT>"""
PARTS = """{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{% else %}{% for part in m.content %}{{ part.text }}
{%- endfor %}{% endif %}{% endfor %}[assistant]"""
QWEN_NEW = """{% set ns = namespace(user=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.user = true %}{% endif %}
{%- if m.role == 'system' and not loop.first %}{{ raise_exception('system first') }}{% endif %}{% endfor %}
{%- if not ns.user %}{{ raise_exception('nobody asks') }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}
<assistant>"""
NO_EMPTY = """{% for m in messages %}{% if not m.content %}{{ raise_exception('empty') }}{% endif %}<{{ m.role }}>{{ m.content }}
{%- endfor %}<assistant>"""
OLD_GO = "{{ if .Prompt }}<user>{{ .Prompt }}{{ end }}<bot>{{ .Response }}"
GO = (
    '{{ range .Messages }}{{ if eq .Role "user" }}<user>{{ .Content }}{{ else if eq .Role "assistant" }}<bot>{{ .Content }}'
    "{{ end }}{{ end }}<bot>"
)
STYLES: dict[str, tuple[str, TemplateStyle]] = {
    "gemma 2": (GEMMA_2, "jinja"), "llama 2": (LLAMA_2, "jinja"), "mistral": (MISTRAL, "jinja"), "phi": (PHI, "jinja"),
    "deepseek": (DEEPSEEK, "jinja"), "command-r": (COMMAND_R, "jinja"), "parts": (PARTS, "jinja"),
    "qwen": (QWEN_NEW, "jinja"), "no empty": (NO_EMPTY, "jinja"), "chatml": (CHATML, "jinja"), "plain": (PLAIN, "jinja"),
    "old go": (OLD_GO, "go"), "go": (GO, "go"),
}  # fmt: skip


def template(name: str) -> Template:
    text, style = STYLES[name]
    return Template(text, style, format_of(text))


def prompt(name: str, *messages: Mapping[str, Any]) -> str:
    return template(name).prompt(messages, (), Thinking(), "<s>", "</s>")


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bonn"}}}
SYSTEM, USER, ANSWER = said("system", "SYSTEM"), said("user", "USER"), said("assistant", "ANSWER")
SYSTEM_2, USER_2, ANSWER_2 = said("system", "SECOND"), said("user", "NEXT"), said("assistant", "MORE")
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "a user": [USER],
    "a system": [SYSTEM, USER],
    "several systems": [SYSTEM, SYSTEM_2, USER],
    "a system alone": [SYSTEM],
    "a system later": [SYSTEM, USER, ANSWER, SYSTEM_2, USER_2],
    "a system at the end": [USER, ANSWER, USER_2, SYSTEM],
    "a system between user and answer": [USER, SYSTEM, ANSWER, USER_2],
    "two users": [USER, USER_2],
    "two answers": [USER, ANSWER, ANSWER_2, USER_2],
    "the assistant begins": [ANSWER, USER],
    "the assistant begins, after a system": [SYSTEM, ANSWER, USER],
    "the assistant ends": [USER, ANSWER],
    "the assistant alone": [ANSWER],
    "an empty message": [said("user", ""), ANSWER, USER_2],
    "calls": [USER, said("assistant", "", tool_calls=[CALL]),
              said("tool", "SUNNY", name="weather", tool_name="weather", tool_call_id="abcdefghi")],
    "calls in a conversation": [
        SYSTEM, USER, said("assistant", "", tool_calls=[CALL]),
        said("tool", "SUNNY", name="weather", tool_name="weather", tool_call_id="abcdefghi"), ANSWER, USER_2,
    ],
}  # fmt: skip
WORDS = ("SYSTEM", "SECOND", "USER", "NEXT", "ANSWER", "MORE", "weather", "Bonn", "SUNNY")


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", STYLES)
def test_every_template_renders_every_conversation_completely(name: str, conversation: str) -> None:
    """Seen: 400 'System role not supported' with gemma 2, 'roles must alternate', or a message silently left out."""
    messages = CONVERSATIONS[conversation]
    made = prompt(name, *messages)
    for word in WORDS:
        assert (word in made) == (word in str(messages)), (word, made)
    if messages[-1]["role"] == "assistant" and conversation != "the assistant alone":
        assert made.endswith("ANSWER"), "the answer goes on with it"


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("chatml", Needs(no_calls=True)),
        ("gemma 2", Needs(no_system=True, alternating=True, user_first=True, no_calls=True, no_results=True)),
        ("mistral", Needs(first_system=True, alternating=True, user_first=True)),
        ("phi", Needs(no_calls=True, no_results=True)),
        ("deepseek", Needs(text_arguments=True, null_content=True)),
        ("parts", Needs(parts=True, no_calls=True)),
        ("qwen", Needs(one_system=True, first_system=True, some_user=True, no_calls=True)),
        ("no empty", Needs(no_empty=True, no_calls=True)),
        ("go", Needs(no_system=True, no_calls=True, no_results=True)),
    ],
)
def test_a_template_gets_what_it_needs_and_no_more(name: str, needs: Needs) -> None:
    assert template(name).needs(tools=False) == needs
    assert len(needs.sentences) == str(needs).count("True")


def test_adaptations_are_described() -> None:
    assert prompt("gemma 2", SYSTEM, USER, USER_2) == (
        "<s><start_of_turn>user\nSYSTEM\n\nUSER\n\nNEXT<end_of_turn><start_of_turn>model"
    )
    assert "Result of weather: SUNNY" in prompt("phi", *CONVERSATIONS["calls"])
    assert prompt("plain", SYSTEM, USER, ANSWER, USER_2) == (
        "SYSTEM\n\nUser:\nUSER\n\nAssistant:\nANSWER\n\nUser:\nNEXT\n\nAssistant:\n"
    )
    assert prompt("chatml", USER) == "<|im_start|>user\nUSER<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_no_adaptation_helps_raises_its_own_error() -> None:
    text = "{{ raise_exception('this model reads images alone') }}"
    broken = Template(text, "jinja", format_of(text))
    assert broken.needs(tools=False) == NO_NEEDS and broken.error == ""
    with pytest.raises(InvalidRequest, match="refused this conversation: this model reads images alone"):
        broken.prompt([USER], (), Thinking(), "", "")


@pytest.mark.parametrize(
    "text", ["{% if %}", "{{ messages | nonsense }}", "x" * 300_000, "{{ nothing.at.all }}", "{{ 1 / 0 }}"]
)
def test_a_failing_template_is_distinguished_from_a_refusing_one(text: str) -> None:
    broken = Template(text, "jinja", format_of(text))
    assert broken.error
    with pytest.raises(InvalidRequest) as caught:
        broken.prompt([USER], (), Thinking(), "", "")
    assert not isinstance(caught.value, TemplateBroken), "clients know no such error"


def test_trials_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[Mapping[str, Any]]] = []

    def ask(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        asked.append(messages)
        return "zquser"

    monkeypatch.setattr(module, "PROBE_SECONDS", -1.0)
    with pytest.raises(module.TooSlow):
        module.needs_of(ask, tools=False, jinja=True)
    assert len(asked) == 1


def test_a_conversation_is_not_changed_in_place() -> None:
    messages = CONVERSATIONS["calls in a conversation"]
    before = str(messages)
    everything = Needs(**dict.fromkeys(module.SENTENCES, True))
    adapted(messages, everything)
    assert str(messages) == before and adapted(messages, NO_NEEDS) == messages
