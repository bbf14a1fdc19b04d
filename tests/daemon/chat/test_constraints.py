# ruff: noqa: E501 (tables, an entry a line)
"""What must be called is called, in the model's own way; what must be JSON is JSON, after the thinking."""

from __future__ import annotations

import jsonschema
import pytest

from hypura_daemon.chat.constraints import check_wishes, constraint, schema_grammar, wanted
from hypura_daemon.chat.formats import format_of
from hypura_daemon.chat.syntaxes.table import JSON, SYNTAXES
from hypura_daemon.chat.tools import toolbox
from hypura_daemon.errors import InvalidRequest
from tests.daemon.chat.grammar_check import GrammarCheck
from tests.daemon.chat.test_parsers import GLM, HARMONY, HERMES, LLAMA, call, content, parsed, thinking, told

SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}, "kind": {"type": "string", "enum": ["a", "b"]},
                   "sure": {"type": "boolean"}},
    "required": ["count"],
}  # fmt: skip
TOOLS = toolbox([{"function": {"name": "count", "parameters": SCHEMA}}, {"function": {"name": "now"}}])
NOTHING = toolbox([])
ANSWER = (
    '{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": false}'
)
NOT_ENFORCED = ("dsml", "python")
TEMPLATES = {syntax.name: " ".join(syntax.shown) for syntax in SYNTAXES} | {JSON.name: "", "harmony": HARMONY}


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in NOT_ENFORCED])
def test_enforced_calls_are_read_back(check: GrammarCheck, name: str) -> None:
    """Each family's grammar and its parser must mean the same."""
    form = format_of(TEMPLATES[name])
    assert form.is_harmony or form.syntax.name == name
    prompt = "<|start|>assistant" if form.is_harmony else "x"
    tools = toolbox([{"function": {"name": "count", "parameters": SCHEMA}}]) if name.endswith("gemma") else TOOLS
    limit = constraint(wanted("", "", tools, "required"), form, prompt, may_think=False)
    found = 0
    for seed in range(15):
        text = check.walk(limit.text.replace("analysis? ", ""), seed, longest=600)
        if text is None:
            continue
        found += 1
        parts = told([*(parser := form.parser(prompt, tools)).push(text), *parser.finish()])
        assert parts, text
        for kind, *rest in parts:
            assert kind == "CALL", text
            jsonschema.validate(rest[1], SCHEMA if rest[0] == "count" else {})
    assert found > 2


@pytest.mark.parametrize("name", NOT_ENFORCED)
def test_what_cannot_be_enforced_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="leave tool_choice at auto"):
        check_wishes(wanted("", "", TOOLS, "required"), format_of(TEMPLATES[name]))


def test_a_named_tool_is_called_once(check: GrammarCheck) -> None:
    limit = constraint(wanted("", "", TOOLS, "now"), format_of(HERMES), "x", may_think=False)
    one = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert check.accepts(limit.text, one)
    assert not check.accepts(limit.text, one + "\n" + one)
    assert not check.accepts(limit.text, one.replace("now", "count"))


TEXTS = [
    (HERMES, "x", True, '<think>\n{"no": <b> </thin </think>\n\n{"x": 1}', True),
    (HERMES, "x", True, '{"x": 1}', True),
    (HERMES, "x", True, '<think>a</think>\n\n{"x": 1.5}', False),
    (HERMES, "x", True, "<think>a</think>\n\nSure!", False),
    (HERMES, "x", False, "<think>a</think>", False),
    (HERMES, "x<think>\n", True, 'hm</think>{"x": 1}', True),
    (HERMES, "x<think>\n", True, '{"x": 1}', False),
    (HERMES, "x<think>\n\n</think>\n\n", True, '{"x": 1}', True),
    (HERMES, "x<think>\n\n</think>\n\n", True, '<think></think>{"x": 1}', False),
    (LLAMA, "x", True, '{"x": 1}', True),
    (HARMONY, "<|start|>assistant", True,
     '<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{"x": 1}', True),
    (HARMONY, "<|start|>assistant", True, '<|channel|>final<|message|>{"x": 1}', True),
    (HARMONY, "<|start|>assistant", True, "<|channel|>final<|message|>Hello", False),
]  # fmt: skip


@pytest.mark.parametrize(("template", "prompt", "may_think", "text", "fits"), TEXTS)
def test_a_schema_binds_what_follows_the_thinking(
    check: GrammarCheck, template: str, prompt: str, may_think: bool, text: str, fits: bool
) -> None:
    """A grammar from the first token on would make a thinking model answer without thinking."""
    limit = constraint(wanted(ANSWER, "", NOTHING, ""), format_of(template), prompt, may_think=may_think)
    assert check.accepts(limit.text, text) is fits


def test_a_schema_leaves_the_tools_callable(check: GrammarCheck) -> None:
    limit = constraint(wanted(ANSWER, "", TOOLS, "auto"), format_of(HERMES), "x", may_think=True)
    assert check.accepts(limit.text, '{"x": 1}')
    assert check.accepts(limit.text, '<think>a</think>\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')


def test_a_given_grammar_binds_what_follows_the_thinking(check: GrammarCheck) -> None:
    own = 'root ::= "yes" | until\nuntil ::= "no" # root'
    limit = constraint(wanted("", own, NOTHING, ""), format_of(HERMES), "x", may_think=True)
    assert limit.root == "hypura-root"
    assert check.accepts(limit.text, "<think>hm</think>\n\nno", limit.root)
    assert not check.accepts(limit.text, "<think>hm</think>\n\nmaybe", limit.root)
    assert constraint(wanted("", own, NOTHING, ""), format_of(""), "x", may_think=True).text == own


def test_nothing_wished_binds_nothing() -> None:
    assert constraint(wanted("", "", TOOLS, "auto"), format_of(HERMES), "x", may_think=True).text == ""


def test_any_object_for_an_empty_schema(check: GrammarCheck) -> None:
    assert check.accepts(schema_grammar("{}"), '{"a": [1]}')
    assert not check.accepts(schema_grammar("{}"), "[1]")


def test_control_tokens_are_matched_by_their_text(check: GrammarCheck) -> None:
    """Markers such as [TOOL_CALLS] are one control token to the model."""
    grammar = 'root ::= "<|im_start|>" "a"'
    assert check.allows_token(grammar, "<|im_start|>")
    assert not check.allows_token('root ::= "a"', "<|im_start|>")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{}", "root ::= x", TOOLS, ""), "both set"),
        (("", "", NOTHING, "required"), "offers no tools"),
        (("", "", TOOLS, "other"), "no tool on offer; the tools are: count, now"),
    ],
)
def test_wishes_that_contradict_each_other(arguments: tuple, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidRequest, match=words):
        wanted(*arguments)


def test_rule_names_of_our_own_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="another name"):
        check_wishes(wanted("", 'root ::= hypura-x\nhypura-x ::= "a"', NOTHING, ""), format_of(HERMES))


def test_a_tool_with_a_bad_schema_is_named() -> None:
    tools = toolbox([{"function": {"name": "bad", "parameters": {"properties": {"a": {"type": "nonsense"}}}}}])
    with pytest.raises(InvalidRequest, match=r"tool 'bad' cannot be enforced.*nonsense"):
        check_wishes(wanted("", "", tools, "required"), format_of(HERMES))


def test_arguments_as_text_end_at_their_tag(check: GrammarCheck) -> None:
    tools = toolbox([{"function": {"name": "say", "parameters": {"properties": {"text": {"type": "string"}}}}}])
    form = format_of(GLM)
    text = "<tool_call>say\n<arg_key>text</arg_key>\n<arg_value>a <b> </arg</arg_value>\n</tool_call>"
    assert check.accepts(constraint(wanted("", "", tools, "say"), form, "x", may_think=False).text, text)
    assert parsed(form.parser("x", tools), [text]) == [call("say", text="a <b> </arg")]


def test_json_after_thinking_is_content() -> None:
    form = format_of(HERMES)
    answer = '<think>a</think>\n{"x": 1}'
    assert parsed(form.parser("x", TOOLS), [answer]) == [thinking("a"), content('{"x": 1}')]
