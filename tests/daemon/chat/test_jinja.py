"""Chat templates: rendered as Hugging Face renders them, and no template can hang or fill the daemon."""

import gc
import json
import sys
import time
from typing import Any
from weakref import WeakSet, ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_daemon.chat.answers.formats import format_of
from hypura_daemon.chat.conversation import chat_template, for_template, template_messages
from hypura_daemon.chat.prompts import jinja
from hypura_daemon.chat.prompts.jinja import render
from hypura_daemon.chat.prompts.template import Template, Thinking
from hypura_daemon.chat.request import ChatMessage
from hypura_daemon.errors import InvalidRequest

USER = [{"role": "user", "content": "Zürich <b> & 'x'"}]
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""


def test_chatml_without_html_escaping() -> None:
    prompt = render(CHATML, USER)
    assert prompt == "<|im_start|>user\nZürich <b> & 'x'<|im_end|>\n<|im_start|>assistant\n"


def test_think_is_set_only_when_requested() -> None:
    template = "{% if enable_thinking is defined %}{{ enable_thinking }}{% else %}left out{% endif %}"
    assert render(template, USER) == "left out"
    assert render(template, USER, think=False) == "False"
    assert render(CHATML, USER, think=False).endswith("<think>\n\n</think>\n\n")


def test_tojson_is_json_not_html() -> None:
    value = [{"type": "function", "function": {"name": "f<>&'", "description": "Zürich"}}]
    text = render("{{ tools | tojson }}|{{ tools | tojson(indent=2) }}", USER, value)
    plain, indented = text.split("|")
    assert plain == json.dumps(value, ensure_ascii=False)
    assert indented == json.dumps(value, ensure_ascii=False, indent=2)


def test_names_that_templates_expect() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{% generation %}{% if loop.first %}{% continue %}{% endif %}"
        "{% endgeneration %}{% endfor %}{{ strftime_now('%Y') | length }}{{ eos_token }}"
    )
    assert render(template, USER, bos="<s>", eos="</s>") == "<s>4</s>"


def test_blocks_are_trimmed() -> None:
    assert render("  {% if true %}\nx\n  {% endif %}\ny", USER) == "x\ny"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refused.*roles must alternate"),
        ("{% if %}", "syntax error"),
        ("{{ nothing.at.all }}", "refused.*undefined"),
        ("{{ 1 + 'a' }}", "failed.*TypeError"),
        ("{{ 1 / 0 }}", "failed.*ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "refused.*unsafe"),
        ("{{ messages.append(1) }}", "refused.*unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "refused"),
        ("{% for i in range(1000000) %}{% endfor %}", "failed.*range"),
        ("{{ 'a' * 1000000000 }}", "refused.*product"),
        ("{{ [1] * 1000000000 }}", "refused.*product"),
        ("{{ 9 ** 9999999 }}", r"refused.*\*\* makes"),
        ("{{ '%999999999d' % 1 }}", "refused.*strings"),
        ("{{ 'a' | center(1000000000) }}", "syntax error.*center"),
        ("{% include '/etc/passwd' %}", "failed|refused"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "failed.*RecursionError"),
        ("x" * (jinja.MAX_TEMPLATE_CHARACTERS + 1), "characters"),
    ],
)
def test_a_bad_template_is_an_invalid_request(template: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        render(template, USER)


@pytest.mark.parametrize(
    "loop",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{% set n = namespace(t='x') %}{% for i in range(9999) %}{% set n.t = n.t ~ i %}"
        "{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ range(99999) | map('string') | map('length') | list | length }}" * 500,
    ],
)
def test_a_runaway_template_ends(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja, "RENDER_SECONDS", 0.3)
    monkeypatch.setattr(jinja, "MAX_OUTPUT_CHARACTERS", 1 << 20)
    before = time.monotonic()
    tracer = sys.gettrace()
    with pytest.raises(InvalidRequest, match="longer than"):
        render(loop, USER)
    assert time.monotonic() - before < 3
    assert sys.gettrace() is tracer


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_the_deadline_holds_while_a_template_is_compiled(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: the error was raised while jinja2 folded constants, which swallows errors, and nothing ended the rest."""
    template = "{{ range(9999) | map('string') | map('length') | list | length }}{{ 'a' | upper | length }}" * 100
    jinja._compiled.cache_clear()
    monkeypatch.setattr(jinja, "RENDER_SECONDS", 60.0)
    before = time.monotonic()
    jinja._with_deadline(before + 60, lambda: str(jinja._compiled(template)))
    compiling_seconds = time.monotonic() - before
    jinja._compiled.cache_clear()
    monkeypatch.setattr(jinja, "RENDER_SECONDS", compiling_seconds * share)
    with pytest.raises(InvalidRequest, match="longer than"):
        render(template, USER)


@pytest.mark.parametrize("last_words", [True, False])
def test_the_deadline_is_not_lost_where_errors_are_ignored(last_words: bool) -> None:
    """Seen: it fell into the callback of a weak reference, was ignored there, and nothing ended the template."""

    class Thing:
        if last_words:

            def __del__(self) -> None:
                (lambda: None)()

    def work() -> str:
        things, thing = WeakSet[Thing](), Thing()
        things.add(thing)
        time.sleep(0.02)
        del thing
        return str(jinja._environment().from_string("{{ 1 }}").render())

    with pytest.raises(jinja.TemplateTooSlow):
        jinja._with_deadline(time.monotonic() + 0.01, work)


def test_the_deadline_does_not_fall_into_what_the_garbage_collector_calls() -> None:
    """Seen: a channel of gRPC was collected while a template ran, and took the exception for its own."""
    finished = []

    class Thing:
        itself: "Thing"

    def finish(_: ref[Thing]) -> None:
        finished.append((lambda: 1)())

    thing = Thing()
    thing.itself = thing
    watched = ref(thing, finish)

    def work() -> str:
        nonlocal thing
        time.sleep(0.02)
        del thing
        gc.collect()
        return str(jinja._environment().from_string("{{ 1 }}").render())

    with pytest.raises(jinja.TemplateTooSlow):
        jinja._with_deadline(time.monotonic() + 0.01, work)
    assert watched() is None and finished == [1]


def test_a_long_conversation_renders_well_within_the_limit() -> None:
    conversation = [{"role": "user", "content": "hello " * 200}] * 2000
    before = time.monotonic()
    assert len(render(CHATML, conversation)) > 2_000_000
    assert time.monotonic() - before < jinja.RENDER_SECONDS / 2


@settings(max_examples=200)
@given(st.text(alphabet="{}%|().[]'\"~+* abcmessages0123\n", max_size=60))
def test_any_template_renders_or_is_an_invalid_request(template: str) -> None:
    try:
        render(template, USER)
    except InvalidRequest:
        pass


def test_messages_carry_thinking_and_tool_calls() -> None:
    call = {"id": "7", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = template_messages(
        [
            ChatMessage(role="assistant", content="x", thinking="hm", tool_calls=[call]),
            ChatMessage(role="tool", content="1", tool_name="f", tool_call_id="7"),
        ]
    )
    assert messages[0]["reasoning_content"] == "hm"
    assert messages[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert messages[1] == {"role": "tool", "content": "1", "name": "f", "tool_call_id": "7"}


def test_broken_arguments_of_a_history_are_text() -> None:
    """A model wrote them; to refuse them would end the conversation for good."""
    texts = ["{", "", "  ", "[1]", '{"a": 1}']
    calls = [{"function": {"name": "f", "arguments": text}} for text in texts]
    [message] = template_messages([ChatMessage(role="assistant", tool_calls=calls)])
    read = [call["function"]["arguments"] for call in message["tool_calls"]]
    assert read == ["{", {}, {}, [1], {"a": 1}]
    [through] = for_template([message], "{% for k, v in call.arguments.items() %}")
    assert [call["function"]["arguments"] for call in through["tool_calls"]] == [
        {"arguments": "{"}, {}, {}, {"arguments": [1]}, {"a": 1},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "wizard"}, "'wizard'.*system"),
        ({"role": "assistant", "tool_calls": [{"a": 1}]}, "function"),
    ],
)
def test_bad_messages(message: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        template_messages([ChatMessage(**message)])


def test_no_message() -> None:
    with pytest.raises(InvalidRequest, match="no message"):
        template_messages([])


def test_a_files_template_and_its_variant_for_tools() -> None:
    assert chat_template({}, with_tools=False) == ""
    variants = {"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}
    assert chat_template(variants, with_tools=False) == "a"
    assert chat_template(variants, with_tools=True) == "b"


CALLS: list[dict[str, Any]] = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g")]


def test_calls_without_ids_get_them_and_their_answers_too() -> None:
    """Ollama's clients send none, and Mistral's template refuses calls without."""
    messages = template_messages(
        [
            ChatMessage(role="user", content="x"),
            ChatMessage(role="assistant", tool_calls=CALLS),
            ChatMessage(role="tool", content="2", tool_name="g"),
            ChatMessage(role="tool", content="1"),
        ]
    )
    plain = for_template(messages, "")
    ids = [call["id"] for call in plain[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [(m["tool_call_id"], m["name"]) for m in plain[2:]] == [(ids[1], "g"), (ids[0], "f")]
    short = for_template(messages, "{% if tool_call.id|length != 9 %}")
    numbers = [call["id"] for call in short[1]["tool_calls"]]
    assert all(len(number) == 9 and number.isalnum() for number in numbers)
    assert [m["tool_call_id"] for m in short[2:]] == numbers[::-1]


def test_developers_become_the_system_if_a_template_does_not_know_them() -> None:
    messages = [{"role": "developer", "content": "x"}]
    assert for_template(messages, "system")[0]["role"] == "system"
    assert for_template(messages, "developer")[0]["role"] == "developer"


def test_the_thinking_level_reaches_the_template() -> None:
    template = "{{ reasoning_effort | default('none') }} {{ enable_thinking | default('unset') }}"
    assert render(template, USER, think=True, level="high") == "high True"
    assert render(template, USER) == "none unset"


R1 = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n"


@pytest.mark.parametrize(
    ("text", "messages", "asked", "prompt"),
    [
        (R1, ["a"], None, "a<think>"),
        (R1, ["a"], False, "a<think>\n\n</think>\n\n"),
        (R1, ["a", "b"], None, "a<think>\n\n</think>\n\nb"),
        ("{{ messages[0].content }}{# </think> #}", ["a"], False, "a<think>\n\n</think>\n\n"),
        ("{{ messages[0].content }}{# </think> enable_thinking #}", ["a"], False, "a"),
        ("{{ messages[0].content }}{{ reasoning_effort }}{# <|channel|> <|message|> #}", ["a"], False, "alow"),
    ],
)
def test_disabled_thinking_is_closed_in_the_prompt(
    text: str, messages: list[str], asked: bool | None, prompt: str
) -> None:
    """With templates without a switch the model would think nevertheless."""
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": content} for i, content in enumerate(messages)]
    template = Template(text, "jinja", format_of(text))
    assert template.prompt(said, (), Thinking(asked), "", "") == prompt
