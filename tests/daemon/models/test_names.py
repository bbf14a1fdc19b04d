"""Names: what is accepted, what is refused, and what a file's name becomes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.errors import InvalidModelName
from hypura_daemon.models.names import ModelName, full_name, name_for, parse_name


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("qwen3", "qwen3:latest"),
        ("qwen3:30b-a3b", "qwen3:30b-a3b"),
        ("library/qwen3:Q4_K_M", "qwen3:Q4_K_M"),
        ("registry.ollama.ai/library/qwen3", "qwen3:latest"),
        ("registry.ollama.ai/me/qwen3:8b", "me/qwen3:8b"),
        ("https://huggingface.co/unsloth/Qwen3-8B-GGUF", "hf.co/unsloth/Qwen3-8B-GGUF:latest"),
        ("LocalHost:5000/library/m", "localhost:5000/library/m:latest"),
        ("hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M", "hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M"),
        ("localhost:5000/me/m", "localhost:5000/me/m:latest"),
        ("a", "a:latest"),
    ],
)
def test_names(text: str, full: str) -> None:
    assert full_name(text) == full
    assert full_name(full) == full


def test_parts() -> None:
    assert parse_name("h:1/ns/n:t") == ModelName("h:1", "ns", "n", "t")


@pytest.mark.parametrize(
    "text",
    [
        "", "/", ":", "a:", ":t", "/etc/passwd", "../a", "a/../b", "a..b", ".a", "-a", "a//b", "a/b/c/d", "a b", "a\0",
        "a\n", "a:b:c", "a:t/b", "a\\b", "ä", "a" * 97, "x/" * 200, "~", "a:.", "a/.b", "h:x/ns/n", "h:123456/ns/n",
    ],
)  # fmt: skip
def test_bad_names(text: str) -> None:
    with pytest.raises(InvalidModelName):
        parse_name(text)


@given(st.text(max_size=300))
def test_a_name_is_refused_or_safe(text: str) -> None:
    try:
        name = str(parse_name(text))
    except InvalidModelName:
        return
    assert parse_name(name) == parse_name(text)
    assert ".." not in name and not name.startswith(("/", ".")) and name.isascii() and name.isprintable()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-30B-A3B-Q4_K_M.gguf", "qwen3-30b-a3b:q4_k_m"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", "gpt-oss-120b:mxfp4"),
        ("Meta-Llama-3.1-8B-Instruct.Q8_0.gguf", "meta-llama-3.1-8b-instruct:q8_0"),
        ("Qwen3-8B-UD-Q2_K_XL.GGUF", "qwen3-8b:ud-q2_k_xl"),
        ("gemma-3-27b-it-IQ4_XS.gguf", "gemma-3-27b-it:iq4_xs"),
        ("phi_2_q5_0.gguf", "phi_2:q5_0"),
        ("model.gguf", "model:latest"),
        ("tiny-bf16.gguf", "tiny:bf16"),
        ("q4_0.gguf", "q4_0:latest"),
        ("My Model (new).gguf", "my-model-new:latest"),
        ("..a..b.gguf", "a.b:latest"),
        ("sha256-0123abcd", "sha256-0123abcd:latest"),
        ("模型.gguf", "model:latest"),
        ("....gguf", "model:latest"),
        ("x" * 200 + "-q4_0.gguf", "x" * 64 + ":q4_0"),
    ],
)
def test_names_of_files(file: str, name: str) -> None:
    assert name_for(Path(file)) == name


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_every_file_has_a_name(file: str) -> None:
    assert full_name(name_for(Path("/m") / f"{file}.gguf"))
