"""Modelfiles: usual ones, refused ones, and that written ones are parsed back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.modelfile import Modelfile, modelfile_text, parse_modelfile
from hypura_daemon.models.overrides import (
    NO_OVERRIDES,
    Overrides,
    checked_pairs,
    parameter_pairs,
    parameters_text,
    style_of,
)

WHOLE = '''# a comment
from qwen3
parameter temperature 0.70
PARAMETER num_ctx 4096
PARAMETER stop "<|im_end|>"
  PARAMETER stop AI assistant:
TEMPLATE """{{ .System }}
say "hi" and """ too
  {{ .Prompt }}"""

System "two
lines"
MESSAGE user hello "there"
Message assistant """Well,
hello."""
LICENSE MIT
LICENSE "
and more"
RENDERER qwen3
'''


def test_all_instructions() -> None:
    assert (
        parse_modelfile(WHOLE)
        == parse_modelfile(WHOLE.replace("\n", "\r\n"))
        == Modelfile(
            "qwen3",
            Overrides(
                template='{{ .System }}\nsay "hi" and """ too\n  {{ .Prompt }}',
                template_style="go",
                system="two\nlines",
                parameters=(
                    ("temperature", "0.7"),
                    ("num_ctx", "4096"),
                    ("stop", "<|im_end|>"),
                    ("stop", "AI assistant:"),
                ),
                messages=(("user", 'hello "there"'), ("assistant", "Well,\nhello.")),
                license="MIT\n\nand more",
            ),
        )
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no FROM"),
        ("SYSTEM hi", "no FROM"),
        ("FROM", "line 1 .*FROM has no value"),
        ("FROM a\nFROM b", "line 2 .*second FROM"),
        ("FROM a\nADAPTER ./x", "line 2 .*LoRA.*merge"),
        ("FROM a\nFLY high", "line 2 .*'FLY' is not an instruction"),
        ("FROM a\nPARAMETER warmth 3", "unknown parameter 'warmth'"),
        ("FROM a\nPARAMETER temperature hot", "temperature is 'hot'; give a number"),
        ("FROM a\nPARAMETER top_k 1.5", "give a whole number"),
        ("FROM a\nPARAMETER seed 1e400", "give a whole number"),
        ("FROM a\nPARAMETER use_mmap maybe", "give true or false"),
        ("FROM a\nMESSAGE tool hi", "role of a message is 'tool'"),
        ('FROM a\nSYSTEM """open', "is not closed"),
        ('FROM a\nSYSTEM "open', "is not closed"),
        ("FROM a\nSYSTEM " + "x" * (1 << 21), "characters"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"(?s){why}"):
        parse_modelfile(text)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r")).filter(lambda text: '""' not in text)


@given(WORDS, WORDS, st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), WORDS.filter(bool))))
def test_what_is_written_is_read_back(template: str, system: str, messages: list[tuple[str, str]]) -> None:
    overrides = Overrides(
        template, style_of(template), system, (("stop", "a b"), ("seed", "1")), tuple(messages), "MIT"
    )
    assert parse_modelfile(modelfile_text("m:latest", "/m.gguf", overrides)) == Modelfile("/m.gguf", overrides)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_modelfile("FROM a\n" + text)
    except InvalidRequest:
        pass


@pytest.mark.parametrize(
    ("template", "style"),
    [
        ("", ""),
        ("{{ .Prompt }}", "go"),
        ("{{- range .Messages }}{{ end }}", "go"),
        ("plain text", "go"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "jinja"),
        ("{{ bos_token }}{{ messages[0].content }}", "jinja"),
        ("{{- messages[0]['content'] -}}", "jinja"),
        ("{{- bos_token }}{%- if tools %}{{ tools }}{% endif %}", "jinja"),
        ("{{ if .System }}{{ .System }}{{ end }}", "go"),
    ],
)
def test_the_language_of_a_template_is_recognized(template: str, style: str) -> None:
    assert style_of(template) == style


def test_a_model_created_from_another_inherits_what_it_does_not_set() -> None:
    base = Overrides("T", "go", "S", (("stop", "a"), ("stop", "b"), ("seed", "1")), (("user", "u"),), "MIT")
    assert NO_OVERRIDES.over(base) == base
    made = Overrides(system="new", parameters=(("stop", "c"),)).over(base)
    assert (made.system, made.template, made.license, made.messages) == ("new", "T", "MIT", (("user", "u"),))
    assert made.parameters == (("seed", "1"), ("stop", "c"))


def test_parameters_as_json_and_as_text() -> None:
    pairs = parameter_pairs({"stop": ["a", 'q"'], "temperature": 0.5, "use_mmap": True, "seed": None})
    assert (
        checked_pairs(pairs) == pairs == (("stop", "a"), ("stop", 'q"'), ("temperature", "0.5"), ("use_mmap", "true"))
    )
    lines = parameters_text(pairs).splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["stop", '"a"'], ["stop", '"q\\""'], ["temperature", "0.5"], ["use_mmap", "true"],
    ]  # fmt: skip
    refused: list[object] = [[], {"stop": 3}, {"seed": [1]}, {"seed": {}}]
    for bad in refused:
        with pytest.raises(InvalidRequest):
            parameter_pairs(bad)
