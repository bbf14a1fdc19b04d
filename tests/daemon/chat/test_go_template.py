"""Go templates: prompts of Ollama's models, and hostile templates."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_daemon.chat.go.interpreter import MAX_DEPTH, go_identifiers, render_go
from hypura_daemon.errors import InvalidRequest

CHATML = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""
LLAMA3 = """
{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}

{{ .System }}
{{- end }}
{{- if .Tools }}

You may call tools.
{{- end }}<|eot_id|>
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $.Tools $last }}

Answer with {"name": function name, "parameters": object}.

{{ range $.Tools }}
{{- . }}
{{ end }}
{{- end }}

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .ToolCalls }}
{{ range .ToolCalls }}
{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}

{{ .Content }}
{{- end }}{{ if not $last }}<|eot_id|>{{ end }}
{{- else if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}
{{- end }}"""
MISTRAL = """{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (eq (len (slice $.Messages $index)) 1) $.Tools }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{- end }}]
{{- end }}</s>
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}} [/TOOL_RESULTS]
{{- end }}
{{- end }}"""
QWEN3 = """
{{- $lastUserIdx := -1 -}}
{{- range $idx, $msg := .Messages -}}
{{- if eq $msg.Role "user" }}{{ $lastUserIdx = $idx }}{{ end -}}
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUserIdx) }}
   {{- if $.Think -}}
      {{- " "}}/think
   {{- else -}}
      {{- " "}}/no_think
   {{- end -}}
{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUserIdx)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ if .Content }}{{ .Content }}{{ end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end -}}
{{ end }}
{{- end }}"""
GEMMA = """{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if or (eq .Role "user") (eq .Role "system") }}<start_of_turn>user
{{ .Content }}<end_of_turn>
{{ if $last }}<start_of_turn>model
{{ end }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}{{ if not $last }}<end_of_turn>
{{ end }}
{{- end }}
{{- end }}"""
USER = {"role": "user", "content": "Hi"}
TALK = [USER, {"role": "assistant", "content": "Hello", "thinking": "hm"}, {"role": "user", "content": "Bye"}]
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": {"zone": "a<b"}}}]}
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]


def test_chatml_turn_by_turn() -> None:
    data = {"System": "Be kind.", "Prompt": "Hi", "Response": "Hello"}
    whole = render_go(CHATML, data)
    assert whole == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
    )
    assert render_go(CHATML, {**data, "Response": ""}, until_response=True) == whole.partition("Hello")[0]
    assert go_identifiers(CHATML) == {"system", "prompt", "response"}


def test_llama3_with_tools() -> None:
    start = "<|start_header_id|>"
    assert render_go(LLAMA3, {"System": "", "Messages": TALK, "Tools": []}) == (
        f"{start}user<|end_header_id|>\n\nHi<|eot_id|>{start}assistant<|end_header_id|>\n\nHello<|eot_id|>"
        f"{start}user<|end_header_id|>\n\nBye<|eot_id|>{start}assistant<|end_header_id|>\n\n"
    )
    asked = render_go(LLAMA3, {"System": "S", "Messages": [USER], "Tools": TOOLS})
    assert json.dumps(TOOLS[0], separators=(",", ":")) + "\n\n\nHi<|eot_id|>" in asked
    called = render_go(LLAMA3, {"Messages": [USER, CALL, {"role": "tool", "content": "12:00"}], "Tools": TOOLS})
    assert '{"name": "now", "parameters": {"zone":"a\\u003cb"}}<|eot_id|>' in called
    assert called.endswith(f"{start}ipython<|end_header_id|>\n\n12:00<|eot_id|>{start}assistant<|end_header_id|>\n\n")


def test_mistral() -> None:
    data = {"System": "S", "Messages": [USER, CALL, {"role": "tool", "content": "5"}, USER], "Tools": TOOLS}
    tools = json.dumps(TOOLS, separators=(",", ":"))
    assert render_go(MISTRAL, data) == (
        '[INST] Hi[/INST][TOOL_CALLS] [{"name": "now", "arguments": {"zone":"a\\u003cb"}}]</s>'
        f'[TOOL_RESULTS] {{"content": 5}} [/TOOL_RESULTS][AVAILABLE_TOOLS] {tools}[/AVAILABLE_TOOLS]'
        "[INST] S\n\nHi[/INST]"
    )


@pytest.mark.parametrize(
    ("think", "end"),
    [
        ({"IsThinkSet": False, "Think": False}, "Bye<|im_end|>\n<|im_start|>assistant\n"),
        ({"IsThinkSet": True, "Think": True}, "Bye /think<|im_end|>\n<|im_start|>assistant\n"),
        (
            {"IsThinkSet": True, "Think": False},
            "Bye /no_think<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
    ],
)
def test_qwen3_thinks_as_requested(think: dict[str, bool], end: str) -> None:
    text = render_go(QWEN3, {"Messages": TALK, **think})
    assert text.startswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n")
    assert text.endswith(end)


def test_gemma() -> None:
    assert render_go(GEMMA, {"Messages": TALK}) == (
        "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a {{- /* no */ -}} b", "ab"),
        ("{{/* no }} */}}x", "x"),
        ("{{ range $i, $e := .List }}{{ $i }}={{ $e }},{{ else }}none{{ end }}", "0=a,1=b,2=c,"),
        ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
        ("{{ range .List }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
        ("{{ range .List }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ range $k, $v := .Map }}{{ $k }}{{ $v }} {{ end }}", "a2 b1 "),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ with .Text }}{{ . }}{{ else }}no{{ end }}", "hé"),
        ("{{ with .None }}{{ . }}{{ else with .List }}{{ len . }}{{ end }}", "3"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}", "2"),
        ("{{ define \"a\" }}<{{ . }}>{{ end }}{{ template \"a\" .Text }}{{ template \"a\" }}", "<hé><>"),
        ("{{ block \"b\" .Map }}{{ .a }}{{ end }}", "2"),
        ("{{ .Text | printf \"%s-%s\" \"x\" }}", "x-hé"),
        ("{{ printf \"%5d|%-3s|%03d|%q|%v|%.2f|%%\" 42 \"a\" 7 \"q\" true 1.5 }}", '   42|a  |007|"q"|true|1.50|%'),
        ("{{ print 1 2 \"a\" 3 }}{{ println \"x\" 1 }}", "1 2a3x 1\n"),
        ("{{ index .Map \"b\" }}{{ index .List 1 }}{{ (index .Nested 0).name }}", "1bn"),
        ("{{ and 1 0 2 }}{{ or 0 \"\" \"z\" }}{{ not .None }}{{ eq 1 2 1 }}{{ ne \"a\" \"b\" }}", "0ztruetruetrue"),
        ("{{ lt 1 2 }}{{ le 2 2 }}{{ gt 1 2 }}{{ ge \"b\" \"a\" }}", "truetruefalsetrue"),
        ("{{ and .None (index .None 5) }}!", "!"),
        ("{{ slice .Text 0 1 }}{{ len .Text }}{{ len (slice .List 1) }}", "h32"),
        ("{{ json .Map }}{{ .Map }}{{ json .Text }}", '{"b":1,"a":2}{"b":1,"a":2}"hé"'),
        ("{{ .Missing }}{{ .Missing.Deeper }}{{ .Text.Deeper }}", ""),
        ("{{ if eq .Missing \"\" }}empty{{ end }}", "empty"),
        ("{{ `raw {{ \" }}` }}{{ \"\\u00e9\\n\\x41\" }}{{ 'a' }}{{ 0x10 }}{{ 1.50 }}", 'raw {{ " }}é\nA97161.5'),
        ("{{ $.ToolCalls }}{{ .ThinkLevel }}", '["c"]high'),
        ("{{ toTypeScriptType .Schema }}", "string | null"),
        ("{{ if .None }}a{{ else if .List }}b{{ else }}c{{ end }}", "b"),
        ("x\n  {{- 1 -}}  \n y", "x1y"),
    ],
)  # fmt: skip
def test_the_language(template: str, text: str) -> None:
    data = {
        "List": ["a", "b", "c"], "Map": {"b": 1, "a": 2}, "Text": "hé", "Nested": [{"name": "n"}], "None": None,
        "tool_calls": ["c"], "think_level": "high", "Schema": {"type": ["string", "null"]},
    }  # fmt: skip
    assert render_go(template, data) == text


DOUBLING = '{{ $x := "ab" }}{{ range 100 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ $x }}'
LOOPS = "{{ range 100000 }}{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}{{ end }}"


@pytest.mark.parametrize(
    "template",
    [
        '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
        DOUBLING,
        LOOPS,
        "{{ range 100000 }}{{ range 100000 }}" + "x" * 1000 + "{{ end }}{{ end }}",
        "{{ range 1000000000 }}{{ end }}",
        '{{ printf "%999999999d" 1 }}',
        "{{ if true }}" * (MAX_DEPTH * 2) + "{{ end }}" * (MAX_DEPTH * 2),
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ if true }}" + "{{ else if true }}" * 5000 + "{{ end }}",
        "x" * (1 << 19),
        "{{ 9" + "9" * 5000 + " }}",
        "{{ index .Messages 99 }}",
        "{{ .Messages 1 }}",
        "{{ nosuch }}",
        "{{ $nosuch }}",
        "{{ if }}",
        "{{ if true }}",
        "{{ end }}",
        "{{ else }}",
        "{{ break }}",
        "{{ $a, $b := 1 }}",
        '{{ "open',
        "{{ \x00 }}",
        "{{",
        "{{ . . }}",
        "{{ 1 | 2 }}",
        "{{ eq }}",
        '{{ lt 1 "a" }}',
        '{{ template "none" }}',
        '{{ slice "abc" 2 1 }}',
    ],
)  # fmt: skip
def test_hostile_and_broken_templates_are_refused(template: str) -> None:
    with pytest.raises(InvalidRequest, match="template"):
        render_go(template, {"Messages": [1]})


ACTIONS = [
    "if",
    "else",
    "end",
    "range",
    "with",
    ".Messages",
    "$x",
    ":=",
    "1",
    '"a"',
    "|",
    "(",
    ")",
    "printf",
    "eq",
    ".",
]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.text(max_size=5), st.lists(st.sampled_from(ACTIONS), max_size=6)), max_size=8))
def test_any_template_renders_or_is_refused(pieces: list[Any]) -> None:
    template = "".join(piece if isinstance(piece, str) else "{{ " + " ".join(piece) + " }}" for piece in pieces)
    try:
        assert isinstance(render_go(template, {"Messages": TALK}), str)
    except InvalidRequest:
        pass
