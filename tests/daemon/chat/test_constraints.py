# ruff: noqa: E501 (tables, an entry a line)
"""Constraints: required calls are written in the model's own syntax, required JSON follows the thinking."""

from __future__ import annotations

import jsonschema
import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.answers.formats import format_of
from hypura_daemon.chat.constraints import bare_constraint, check_requirements, constraint, requirements_of
from hypura_daemon.chat.lark import MAX_SCHEMA_CHARACTERS
from hypura_daemon.chat.tool_calls.syntaxes import JSON, SYNTAXES
from hypura_daemon.chat.tools import toolbox
from hypura_daemon.errors import InvalidRequest
from tests.daemon.chat.test_parsers import GLM, HARMONY, HERMES, LLAMA, call, content, parsed, thinking, told
from tests.worker.constraining.grammar_check import GrammarCheck, Refused

SCHEMA = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}, "kind": {"type": "string", "enum": ["a", "b"]},
                   "sure": {"type": "boolean"}},
    "required": ["count"],
}  # fmt: skip
TOOLS = toolbox([{"function": {"name": "count", "parameters": SCHEMA}}, {"function": {"name": "now"}}])
TOOL_NOW = {"function": {"name": "now"}}
NOTHING = toolbox([])
DEEP = '{"items":' * 101 + "{}" + "}" * 101
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
    limit = constraint(requirements_of("", "", tools, "required"), form, prompt, may_think=False)
    found = 0
    for seed in range(15):
        text = check.walk(_without_analysis(limit), seed, longest=600)
        if text is None:
            continue
        found += 1
        parts = told([*(parser := form.parser(prompt, tools)).push(text), *parser.finish()])
        assert parts, text
        for kind, *rest in parts:
            assert kind == "CALL", text
            jsonschema.validate(rest[1], SCHEMA if rest[0] == "count" else {})
    assert found > 2


def _without_analysis(limit: worker_pb2.Constraint) -> worker_pb2.Constraint:
    """A random analysis would never end."""
    return worker_pb2.Constraint(
        lark=limit.lark.replace("start: r0? ", "start: "), parts=limit.parts, markers=limit.markers
    )


@pytest.mark.parametrize("name", NOT_ENFORCED)
def test_what_cannot_be_enforced_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="leave tool_choice at auto"):
        check_requirements(requirements_of("", "", TOOLS, "required"), format_of(TEMPLATES[name]))


def test_a_named_tool_is_called_once(check: GrammarCheck) -> None:
    limit = constraint(requirements_of("", "", TOOLS, "now"), format_of(HERMES), "x", may_think=False)
    one = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert check.accepts(limit, one)
    assert not check.accepts(limit, one + "\n" + one)
    assert not check.accepts(limit, one.replace("now", "count"))


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
    limit = constraint(requirements_of(ANSWER, "", NOTHING, ""), format_of(template), prompt, may_think=may_think)
    assert check.accepts(limit, text) is fits


def test_a_schema_leaves_the_tools_callable(check: GrammarCheck) -> None:
    limit = constraint(requirements_of(ANSWER, "", TOOLS, "auto"), format_of(HERMES), "x", may_think=True)
    assert check.accepts(limit, '{"x": 1}')
    assert check.accepts(limit, '<think>a</think>\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')


def test_a_given_grammar_binds_what_follows_the_thinking(check: GrammarCheck) -> None:
    own = 'root ::= "yes" | until\nuntil ::= "no" # root'
    limit = constraint(requirements_of("", own, NOTHING, ""), format_of(HERMES), "x", may_think=True)
    assert check.accepts(limit, "<think>hm</think>\n\nno")
    assert not check.accepts(limit, "<think>hm</think>\n\nmaybe")
    assert constraint(requirements_of("", own, NOTHING, ""), format_of(""), "x", may_think=True).gbnf == own


def test_a_schema_and_calls_that_begin_alike(check: GrammarCheck) -> None:
    """Both are JSON without a marker if the template shows llama's syntax."""
    tools = toolbox([{"function": {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}}}])
    schema = '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}'
    limit = constraint(requirements_of(schema, "", tools, "auto"), format_of(LLAMA), "x", may_think=True)
    for text in ('{"name": "f", "parameters": {"n": 1}}', '{"name": "f", "age": 3}', '{"name": "fred"}', '{"age": 3}'):
        assert check.accepts(limit, text), text
    assert not check.accepts(limit, '{"name": "fred", "parameters": {"n": 1}}')


def test_without_requirements_there_is_no_constraint() -> None:
    limit = constraint(requirements_of("", "", TOOLS, "auto"), format_of(HERMES), "x", may_think=True)
    assert limit.WhichOneof("form") is None


def test_any_object_for_an_empty_schema(check: GrammarCheck) -> None:
    limit = bare_constraint(inference_pb2.Limits(json_schema=" {} "))
    assert limit.any_json
    assert check.accepts(limit, '{"a": [1]}')
    assert not check.accepts(limit, "[1]")
    thinking_too = constraint(requirements_of("{}", "", NOTHING, ""), format_of(HERMES), "x", may_think=True)
    assert check.accepts(thinking_too, '{"a": [1]}') and not check.accepts(thinking_too, "[1]")


def test_markers_are_distinguished_from_text() -> None:
    """Markers such as [TOOL_CALLS] are one control token for the model; a tool's text is never one, whatever it says."""
    tools = toolbox([{"function": {"name": "[ARGS]"}}])
    limit = constraint(
        requirements_of("", "", tools, "required"), format_of(TEMPLATES["mistral"]), "x", may_think=False
    )
    assert [marker.text for marker in limit.markers] == ["[TOOL_CALLS]", "[ARGS]"]
    assert '"[ARGS]"' in limit.lark


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{}", "root ::= x", TOOLS, ""), "both set"),
        (("", "", NOTHING, "required"), "offers no tools"),
        (("", "", TOOLS, "other"), "not an offered tool; the tools are: count, now"),
    ],
)
def test_contradictory_requirements_are_refused(arguments: tuple, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidRequest, match=words):
        requirements_of(*arguments)


def test_a_tool_with_a_bad_schema_is_named(check: GrammarCheck) -> None:
    tools = toolbox(
        [TOOL_NOW, {"function": {"name": "bad", "parameters": {"properties": {"a": {"type": "nonsense"}}}}}]
    )
    limit = constraint(requirements_of("", "", tools, "required"), format_of(HERMES), "x", may_think=False)
    with pytest.raises(Refused, match=r"tool 'bad' cannot be enforced.*nonsense"):
        check.matcher(limit)
    clash = {"allOf": [{"type": "string"}, {"type": "integer"}]}
    tools = toolbox(
        [TOOL_NOW, {"function": {"name": "bad", "parameters": {"properties": {"a": clash}, "required": ["a"]}}}]
    )
    limit = constraint(requirements_of("", "", tools, "required"), format_of(HERMES), "x", may_think=False)
    with pytest.raises(Refused, match=r"tool 'bad' cannot be enforced"):
        check.matcher(limit)


def test_a_schema_that_nothing_fits_is_refused_after_thinking_too(check: GrammarCheck) -> None:
    """The thinking alone could be answered, and the answer then ended with an error."""
    limit = constraint(requirements_of('{"$ref": "#"}', "", NOTHING, ""), format_of(HERMES), "x", may_think=True)
    with pytest.raises(Refused, match="no text fits"):
        check.matcher(limit)


@pytest.mark.parametrize("text", ["{", "[]", "5", '"x"', "[" * 100_000, " " * (MAX_SCHEMA_CHARACTERS + 1), DEEP])
def test_an_invalid_schema_is_refused_before_a_model_is_loaded(text: str) -> None:
    with pytest.raises(InvalidRequest):
        check_requirements(requirements_of(text, "", NOTHING, ""), format_of(""))
    with pytest.raises(InvalidRequest):
        check_requirements(requirements_of(text, "", NOTHING, ""), format_of(HERMES))
    with pytest.raises(InvalidRequest):
        bare_constraint(inference_pb2.Limits(json_schema=text))


def test_arguments_as_text_end_at_their_tag(check: GrammarCheck) -> None:
    tools = toolbox([{"function": {"name": "say", "parameters": {"properties": {"text": {"type": "string"}}}}}])
    form = format_of(GLM)
    text = "<tool_call>say\n<arg_key>text</arg_key>\n<arg_value>a <b> </arg</arg_value>\n</tool_call>"
    assert check.accepts(constraint(requirements_of("", "", tools, "say"), form, "x", may_think=False), text)
    assert parsed(form.parser("x", tools), [text]) == [call("say", text="a <b> </arg")]


def test_json_after_thinking_is_content() -> None:
    form = format_of(HERMES)
    answer = '<think>a</think>\n{"x": 1}'
    assert parsed(form.parser("x", TOOLS), [answer]) == [thinking("a"), content('{"x": 1}')]
