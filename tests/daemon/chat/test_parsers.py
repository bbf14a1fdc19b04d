# ruff: noqa: E501 (tables, an entry a line)
"""Answers of every family, parsed as they stream: however the text is cut, the parts are the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_daemon.chat.answers.formats import format_of
from hypura_daemon.chat.parts import Kind, Parser, Part
from hypura_daemon.chat.tool_calls.syntaxes import SYNTAXES
from hypura_daemon.chat.tools import toolbox

TOOLS = toolbox(
    [
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
            "near": {"type": "array", "items": {"type": "string"}}}, "required": ["city"]}}},
        {"type": "function", "function": {"name": "now", "parameters": {}}},
    ]
)  # fmt: skip
THINK = "<think>"
HERMES = "<think></think> tools <tool_call>"
CODER = "tools <tool_call><function="
LLAMA = '"parameters" <|python_tag|>'
MISTRAL, MISTRAL_NEW = "[TOOL_CALLS]", "[TOOL_CALLS] [ARGS]"
HARMONY = "<|channel|> <|message|>"
R1 = "<｜tool▁calls▁begin｜> ```json <think>"
V31 = "<｜tool▁calls▁begin｜> <think>"
GLM = "<tool_call> <arg_key> <think>"
KIMI = "<|tool_calls_section_begin|>"
COHERE = "<|START_ACTION|> <|START_THINKING|>"
GEMMA = "<|tool_call> <|channel>thought"
LISTS, PYTHON, MINIMAX = "<|tool_call|>", "<|tool_call_start|>", "<minimax:tool_call> <invoke name="
OPEN = "<|im_start|>assistant\n<think>\n"
PLAIN = "<|im_start|>assistant\n"


def thinking(text: str) -> tuple[str, str]:
    return "THINKING", text


def content(text: str) -> tuple[str, str]:
    return "CONTENT", text


def call(name: str, **arguments: Any) -> tuple[str, str, Any]:
    return "CALL", name, arguments


Told = tuple[str, str] | tuple[str, str, Any]


def told(parts: list[Part]) -> list[Told]:
    """The parts without markup, pieces of one kind joined."""
    result: list[Told] = []
    for part in parts:
        if part.kind is Kind.CALL:
            result.append(("CALL", part.name, json.loads(part.text)))
        elif part.kind is not Kind.MARKUP:
            assert part.text, "a part without text says nothing"
            if result and result[-1][0] == part.kind.name:
                result[-1] = (part.kind.name, result[-1][1] + part.text)
            else:
                result.append((part.kind.name, part.text))
    return result


def parsed(parser: Parser, pieces: list[str], *, cut: bool = False) -> list[Told]:
    parts: list[Part] = []
    for piece in pieces:
        parts += parser.push(piece)
    return told(parts + parser.finish(cut=cut))


LONDON = '{"name": "weather", "arguments": {"city": "London"}}'
# Template, prompt, answer, what it says.
TABLE: list[tuple[str, str, str, str, list[Told]]] = [
    ("plain", "", PLAIN, "Hello <b>\n", [content("Hello <b>\n")]),
    ("thinks", THINK, PLAIN, "<think>\nhm\n\nhm\n</think>\n\nYes.", [thinking("hm\n\nhm"), content("Yes.")]),
    ("begins inside", THINK, OPEN, "hm\n</think>\n\nYes.", [thinking("hm"), content("Yes.")]),
    ("never ends", THINK, OPEN, "hm </thi", [thinking("hm </thi")]),
    ("empty thinking", THINK, PLAIN, "<think>\n\n</think>\n\nYes.", [content("Yes.")]),
    ("thinking is over", THINK, OPEN + "\n</think>\n\n", "Yes.", [content("Yes.")]),
    ("speaks of tags", THINK, PLAIN, "The <think> tag and </think>", [content("The <think> tag and </think>")]),
    ("not a tag", THINK, PLAIN, "  <thinker", [content("  <thinker")]),
    ("hermes", HERMES, PLAIN, f"Let me see.\n<tool_call>\n{LONDON}\n</tool_call>",
     [content("Let me see."), call("weather", city="London")]),
    ("hermes twice", HERMES, OPEN,
     f'so\n</think>\n\n<tool_call>\n{LONDON}\n</tool_call>\n<tool_call>{{"name": "now"}}</tool_call>\n',
     [thinking("so"), call("weather", city="London"), call("now")]),
    ("a tag within an argument", HERMES, PLAIN,
     '<tool_call>{"name": "weather", "arguments": {"city": "</tool_call>\\" {"}}</tool_call>ok',
     [call("weather", city='</tool_call>" {'), content("ok")]),
    ("unclosed", HERMES, PLAIN, '<tool_call>\n{"name": "weather", "argu', [content('<tool_call>\n{"name": "weather", "argu')]),
    ("only its tag is missing", HERMES, PLAIN, f"<tool_call>\n{LONDON}", [call("weather", city="London")]),
    ("only the tag", HERMES, PLAIN, "x <tool_call>", [content("x <tool_call>")]),
    ("half a tag", HERMES, PLAIN, "x <tool_c", [content("x <tool_c")]),
    ("wrong JSON", HERMES, PLAIN, '<tool_call>{"name": weather}</tool_call> and',
     [content('<tool_call>{"name": weather}</tool_call> and')]),
    ("wrong, then right", HERMES, PLAIN, f'<tool_call>{{"name" "}}</tool_call>\n<tool_call>{LONDON}</tool_call>',
     [content('<tool_call>{"name" "}</tool_call>'), call("weather", city="London")]),
    ("no JSON, then right", HERMES, PLAIN, f"<tool_call>oh</tool_call>\n<tool_call>{LONDON}</tool_call>",
     [content("<tool_call>oh</tool_call>"), call("weather", city="London")]),
    ("text as arguments", HERMES, PLAIN, '<tool_call>{"name": "now", "arguments": "{\\"a\\": 1}"}</tool_call>',
     [call("now", a=1)]),
    ("bare JSON of a tool", HERMES, PLAIN, LONDON, [call("weather", city="London")]),
    ("bare JSON of no tool", HERMES, PLAIN, '{"name": "Bob", "age": 3}', [content('{"name": "Bob", "age": 3}')]),
    ("JSON", HERMES, PLAIN, '{"answer": [1, 2]}', [content('{"answer": [1, 2]}')]),
    ("a list", LLAMA, PLAIN, "[1] is a note", [content("[1] is a note")]),
    ("coder", CODER, PLAIN,
     "Ok\n<tool_call>\n<function=weather>\n<parameter=city>\nNew\nYork\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
     '<parameter=near>\n["a"]\n</parameter>\n</function>\n</tool_call>',
     [content("Ok"), call("weather", city="New\nYork", days=3, near=["a"])]),
    ("coder without its first tag", CODER, PLAIN, "<function=now>\n</function>\n</tool_call>", [call("now")]),
    ("coder, a number for text", CODER, PLAIN,
     "<tool_call>\n<function=weather>\n<parameter=city>\n12\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n"
     "</function>\n</tool_call>", [call("weather", city="12", exact=True)]),
    ("coder, tags in text", CODER, PLAIN,
     "<tool_call><function=weather><parameter=city><a></parameter></a></parameter></function></tool_call>",
     [call("weather", city="<a></parameter></a>")]),
    ("coder, unclosed", CODER, PLAIN, "<tool_call>\n<function=weather>\n<parameter=ci",
     [content("<tool_call>\n<function=weather>\n<parameter=ci")]),
    ("llama", LLAMA, PLAIN, '{"name": "weather", "parameters": {"city": "Bonn"}}', [call("weather", city="Bonn")]),
    ("llama, several", LLAMA, PLAIN, '{"name": "now", "parameters": {}}; {"type": "function", "name": "now"}',
     [call("now"), call("now")]),
    ("llama's tag", LLAMA, PLAIN, '<|python_tag|>{"name": "other", "parameters": {"q": "x"}}', [call("other", q="x")]),
    ("mistral", MISTRAL, "[/INST]", '[TOOL_CALLS] [{"name": "now", "arguments": {}}, {"name": "weather", "arguments": '
     '{"city": "Köln"}, "id": "123456789"}]', [call("now"), call("weather", city="Köln")]),
    ("mistral, unclosed", MISTRAL, "[/INST]", 'So [TOOL_CALLS][{"name": "now"', [content('So [TOOL_CALLS][{"name": "now"')]),
    ("mistral, newer", MISTRAL_NEW, "[/INST]", '[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]weather[CALL_ID]1[ARGS]{"city": "]"}',
     [call("now"), call("weather", city="]")]),
    ("harmony", HARMONY, "<|start|>assistant",
     "<|channel|>analysis<|message|>hm <|end|><|start|>assistant<|channel|>final<|message|>Yes <b>",
     [thinking("hm "), content("Yes <b>")]),
    ("harmony call", HARMONY, "<|start|>assistant",
     "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
     '<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Bonn"}',
     [thinking("hm"), content("I look."), call("weather", city="Bonn")]),
    ("harmony, recipient first", HARMONY, "<|start|>assistant",
     " to=functions.now<|channel|>commentary json<|message|>{}<|call|>", [call("now")]),
    ("harmony, cut", HARMONY, "<|start|>assistant", "<|channel|>commentary to=functions.now<|message|>{",
     [content("{")]),
    ("harmony, cut header", HARMONY, "<|start|>assistant", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|cha",
     [thinking("a"), content("assistant<|cha")]),
    ("harmony without headers", HARMONY, "<|start|>assistant", "Hello", [content("Hello")]),
    ("harmony begun", HARMONY, "<|start|>assistant<|channel|>final<|message|>", "Hello", [content("Hello")]),
    ("deepseek r1", R1, "<think>\n", "hm</think>\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
     '```json\n{"city": "Bonn"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n'
     "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", [thinking("hm"), call("weather", city="Bonn"), call("now")]),
    ("deepseek v3.1", V31, "</think>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>"
     '{"city": "Bonn"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>', [call("weather", city="Bonn")]),
    ("glm", GLM, PLAIN, "\n<think>hm</think>\nOk\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Bonn</arg_value>\n"
     "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now</tool_call>",
     [thinking("hm"), content("Ok"), call("weather", city="Bonn", days=2), call("now")]),
    ("kimi", KIMI, PLAIN, "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
     '{"city": "x"}<|tool_call_end|><|tool_calls_section_end|>', [call("weather", city="x")]),
    ("cohere", COHERE, PLAIN, '<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n  {"tool_call_id": "0", "tool_name": '
     '"weather", "parameters": {"city": "x"}}\n]<|END_ACTION|>', [thinking("a"), call("weather", city="x")]),
    ("cohere's words", COHERE, PLAIN, "<|START_RESPONSE|>Hi there<|END_RESPONSE|>", [content("Hi there")]),
    ("gemma", GEMMA, PLAIN, '<|channel>thought\nhm\n<channel|>ok<|tool_call>call:weather{city:<|"|>a "b", {c:<|"|>,days:3,'
     'near:[<|"|>x<|"|>]}<tool_call|>', [thinking("hm"), content("ok"), call("weather", city='a "b", {c:', days=3, near=["x"])]),
    ("lists", LISTS, PLAIN, '<|tool_call|>[{"name": "now", "arguments": {}}]<|/tool_call|>', [call("now")]),
    ("python", PYTHON, PLAIN, "<|tool_call_start|>[weather(city=\"a)\", days=-1), now()]<|tool_call_end|>done",
     [call("weather", city="a)", days=-1), call("now"), content("done")]),
    ("minimax", MINIMAX, PLAIN, '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">x</parameter>\n'
     "</invoke>\n</minimax:tool_call>", [call("weather", city="x")]),
]  # fmt: skip
ROWS = [row[1:] for row in TABLE]


@pytest.mark.parametrize(("template", "prompt", "answer", "expected"), ROWS, ids=[row[0] for row in TABLE])
def test_families(template: str, prompt: str, answer: str, expected: list[Told]) -> None:
    form = format_of(template)
    assert parsed(form.parser(prompt, TOOLS), [answer]) == expected
    assert parsed(form.parser(prompt, TOOLS), list(answer)) == expected


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@settings(max_examples=400)
@given(st.sampled_from(ROWS), CUTS)
def test_any_cut_gives_the_same_parts(row: tuple[str, str, str, list[Told]], cuts: list[int]) -> None:
    template, prompt, answer, expected = row
    assert parsed(format_of(template).parser(prompt, TOOLS), pieces_of(answer, cuts)) == expected


ANSWERS = {
    "deepseek": "So:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"Bonn\"}\n"
    "```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek-3.1": 'So:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Bonn"}<｜tool▁call▁end｜>'
    "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "dsml": 'So:<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n<｜DSML｜parameter name="city" string="true">Bonn'
    '</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name="now">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    "kimi": 'So:<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{"city": "Bonn"}'
    "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
    "cohere": 'So:<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Bonn"}},\n'
    '{"tool_call_id": "1", "tool_name": "now", "parameters": {}}]<|END_ACTION|>',
    "mistral": 'So:[TOOL_CALLS]weather[ARGS]{"city": "Bonn"}[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{}',
    "mistral-list": 'So:[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Bonn"}}, {"name": "now", "arguments": {}}]',
    "glm": "So:\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Bonn</arg_value>\n</tool_call>\n<tool_call>now</tool_call>",
    "functions": "So:\n<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n</function>\n</tool_call>\n"
    "<function=now>\n</function>\n</tool_call>",
    "invoke": 'So:<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Bonn</parameter>\n</invoke>\n'
    '<invoke name="now">\n</invoke>\n</minimax:tool_call>',
    "gemma": 'So:<|tool_call>call:weather{city:<|"|>Bonn<|"|>}<tool_call|><|tool_call>call:now{}<tool_call|>',
    "function-gemma": "So:<start_function_call>call:weather{city:<escape>Bonn<escape>}<end_function_call>"
    "<start_function_call>call:now{}<end_function_call>",
    "lists": 'So:<|tool_call|>[{"name": "weather", "arguments": {"city": "Bonn"}}, {"name": "now", "arguments": {}}]<|/tool_call|>',
    "python": 'So:<|tool_call_start|>[weather(city="Bonn"), now()]<|tool_call_end|>',
    "hermes": 'So:\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>\n<tool_call>\n{"name": "now"}\n'
    "</tool_call>",
    "tool-calls": 'So:<tool_calls>[{"name": "weather", "arguments": {"city": "Bonn"}}, {"name": "now", "arguments": {}}]</tool_calls>',
    "nemotron": 'So:<TOOLCALL>[{"name": "weather", "arguments": {"city": "Bonn"}}, {"name": "now", "arguments": {}}]</TOOLCALL>',
    "llama": 'So:<|python_tag|>{"name": "weather", "parameters": {"city": "Bonn"}}<|python_tag|>{"name": "now", "parameters": {}}',
}  # fmt: skip
"""One answer for every syntax: "So:", and two calls."""
BARE = {
    "hermes": '{"name": "weather", "arguments": {"city": "Bonn"}}\n{"name": "now"}',
    "llama": '{"type": "function", "name": "weather", "parameters": {"city": "Bonn"}}; {"name": "now", "parameters": {}}',
    "json": '[{"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bonn"}}}, {"function": "now"}]',
}
HARMONY_CALL = (
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary<|message|>So:<|end|>"
    '<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Bonn"}'
)
FORMS = {syntax.name: " ".join(syntax.shown) for syntax in SYNTAXES} | {"json": "tools"}
CUT_ANSWERS = [
    *((FORMS[name], PLAIN, answer) for name, answer in ANSWERS.items()),
    *((FORMS[name], PLAIN, answer) for name, answer in BARE.items()),
    *((FORMS[name] + " <think>", PLAIN, f"<think>\nhm\n</think>\n\n{answer}") for name, answer in ANSWERS.items()),
    (COHERE, PLAIN, "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>So:<|END_RESPONSE|>"),
    (GEMMA, PLAIN, "<|channel>thought\nhm\n<channel|>" + ANSWERS["gemma"]),
    (HARMONY, "<|start|>assistant", HARMONY_CALL),
    (HARMONY, "<|start|>assistant", "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>So:"),
    *((f"{opens} {closes}", PLAIN, f"{opens}hm\n{closes}So:") for opens, closes in (
        ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"), ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("◁think▷", "◁/think▷"), ("<thought>", "</thought>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"))),
]  # fmt: skip


def of_kind(parts: list[Told], kind: str) -> list[Any]:
    return [part[1:] for part in parts if part[0] == kind]


def text_of_kind(parts: list[Told], kind: str) -> str:
    return "".join(str(part[0]) for part in of_kind(parts, kind))


def test_every_syntax_has_an_answer_that_is_cut() -> None:
    assert set(ANSWERS) == {syntax.name for syntax in SYNTAXES}
    for template, prompt, answer in CUT_ANSWERS:
        parts = parsed(format_of(template).parser(prompt, TOOLS), [answer])
        assert text_of_kind(parts, "CONTENT") in ("So:", "")
        if "Bonn" in answer:
            assert of_kind(parts, "CALL")[0] == ("weather", {"city": "Bonn"}), answer


@pytest.mark.parametrize(("template", "prompt", "answer"), CUT_ANSWERS)
def test_markup_that_a_limit_cut_is_never_content(template: str, prompt: str, answer: str) -> None:
    """Seen: max_tokens within a call gave <tool_call>{… as content, or half a name as a call."""
    form = format_of(template)
    whole = parsed(form.parser(prompt, TOOLS), [answer])
    for end in range(len(answer) + 1):
        parts = parsed(form.parser(prompt, TOOLS), [answer[:end]], cut=True)
        assert parts == parsed(form.parser(prompt, TOOLS), list(answer[:end]), cut=True)
        for kind in ("CONTENT", "THINKING"):
            assert text_of_kind(whole, kind).startswith(text_of_kind(parts, kind).rstrip()), (end, parts)
        calls = of_kind(parts, "CALL")
        assert calls == of_kind(whole, "CALL")[: len(calls)], (end, parts)


@settings(max_examples=600)
@given(st.sampled_from(CUT_ANSWERS), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=8))
def test_markup_that_a_limit_cut_in_any_stream(row: tuple[str, str, str], end: int, cuts: list[int]) -> None:
    template, prompt, answer = row
    answer = answer[: end % (len(answer) + 1)]
    whole = parsed(format_of(template).parser(prompt, TOOLS), [answer], cut=True)
    assert parsed(format_of(template).parser(prompt, TOOLS), pieces_of(answer, cuts), cut=True) == whole
    assert "So:".startswith(text_of_kind(whole, "CONTENT").strip())


def test_text_that_is_not_markup_stays_when_a_limit_cuts() -> None:
    for text in ("2 < 3 and", "a <b> c ", '{"answer": [1, 2', '{"name": "Bob", "age', "[1] is", "<p>", "So: <tool> "):
        assert parsed(format_of(HERMES).parser(PLAIN, TOOLS), [text], cut=True) == [content(text)]
    assert parsed(format_of(HERMES).parser(PLAIN, toolbox([])), ["<tool_call>{"], cut=True) == [content("<tool_call>{")]


FAMILIES = [" ".join(syntax.shown) + " <think>" for syntax in SYNTAXES] + [HARMONY, GEMMA, COHERE, "", "[THINK]"]
SHARDS = st.sampled_from(
    [
        "<think>", "</think>", "<tool_call>", "</tool_call>", "<function=", "now>", "</function>", "{", "}", "[", "]", '"',
        "name", '": "', "now", "weather", '{"name": "now", "arguments": {}}', "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", " ",
        "\n", "<|channel|>", "analysis", "final", "commentary to=functions.now", "<|message|>", "<|end|>", "<|start|>",
        "assistant", "<|call|>", "<", "x", "\\", ",", ";", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
        "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "```", "json", "<|tool_call>", "call:now{", "}<tool_call|>",
        "<|tool_call_start|>", "now()", "<|tool_call_end|>", "<|START_RESPONSE|>", "</parameter>", "<parameter=a>",
        '<invoke name="now">', "</invoke>", "<minimax:tool_call>", "</minimax:tool_call>", "<|tool_call|>", "é",
    ]
)  # fmt: skip


@settings(max_examples=1500)
@given(st.sampled_from(FAMILIES), st.lists(SHARDS, max_size=14), CUTS, st.booleans())
def test_any_text_in_any_cut(template: str, shards: list[str], cuts: list[int], inside: bool) -> None:
    """Seen in others: a tag split over two tokens leaks, or what follows a broken call is lost."""
    answer = "".join(shards)
    form, prompt = format_of(template), OPEN if inside else "<|start|>assistant"
    whole = parsed(form.parser(prompt, TOOLS), [answer])
    assert parsed(form.parser(prompt, TOOLS), pieces_of(answer, cuts)) == whole
    assert parsed(form.parser(prompt, TOOLS), list(answer)) == whole


@settings(max_examples=300)
@given(st.lists(SHARDS, max_size=14), CUTS)
def test_without_tools_only_thinking_is_separated(shards: list[str], cuts: list[int]) -> None:
    answer = "".join(shards)
    parts = parsed(format_of(HERMES).parser(PLAIN, toolbox([])), pieces_of(answer, cuts))
    if not answer.lstrip().startswith("<think>"):
        assert parts == ([content(answer)] if answer else [])
    assert all(part[0] != "CALL" for part in parts)


def test_content_comes_at_once() -> None:
    """Text that cannot be a tag must not wait for more text."""
    parser = format_of(HERMES).parser(PLAIN, TOOLS)
    assert told(parser.push("Hello")) == [content("Hello")]
    assert told(parser.push(" there <b>")) == [content(" there <b>")]
    assert told(parser.push(" <tool")) == []
    assert told(parser.push("box>")) == [content(" <toolbox>")]


def test_a_call_is_reported_as_soon_as_it_is_complete() -> None:
    parser = format_of(LLAMA).parser(PLAIN, TOOLS)
    assert told(parser.push('{"name": "now", "parameters": {}')) == []
    assert told(parser.push("}")) == [call("now")]


def test_lone_surrogates_are_replaced() -> None:
    """Seen: they could not be sent, because UTF-8 cannot encode them."""
    [part] = (
        format_of(HERMES)
        .parser(PLAIN, TOOLS)
        .push('<tool_call>{"name": "now", "arguments": {"a": "\\ud800"}}</tool_call>')[-1:]
    )
    assert part.text.encode()


def test_a_long_call_takes_linear_time() -> None:
    parser = format_of(HERMES).parser(PLAIN, TOOLS)
    parser.push('<tool_call>{"name": "now", "arguments": {"text": "')
    before = time.monotonic()
    for _ in range(20_000):
        parser.push("words \\n ")
    parts = parser.push('"}}</tool_call>')
    assert [part.kind for part in parts] == [Kind.CALL]
    assert time.monotonic() - before < 5


def test_plain_content_is_cheap() -> None:
    parser = format_of(HERMES).parser(PLAIN, TOOLS)
    before = time.monotonic()
    for _ in range(100_000):
        parser.push(" word")
    assert time.monotonic() - before < 2


def test_template_markers_are_distinguished() -> None:
    names = {template: format_of(template).syntax.name for template in (HERMES, CODER, LLAMA, MISTRAL, GLM, LISTS, "")}
    assert list(names.values()) == ["hermes", "functions", "llama", "mistral-list", "glm", "lists", "json"]
    assert format_of("{{ messages }}").thinks is False
    assert (format_of(R1).syntax.name, format_of(V31).syntax.name) == ("deepseek", "deepseek-3.1")
    assert "[TOOL_CALLS]" in format_of(MISTRAL).visible(TOOLS)
    assert format_of(MISTRAL).visible(toolbox([])) == ()
    assert "<|channel|>" in format_of(HARMONY).visible(toolbox([]))
