"""The tokenizer: nothing lost, reproducible, and llama.cpp's own to the last token."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.demo_model.data.mixture import documents
from tests.demo_model.generate import text_of
from tests.demo_model.llama_answers import LlamaModel
from tests.demo_model.tokenizer import SPECIAL, VOCABULARY_TOKENS, from_merges, shipped, train

ODD_TEXTS = [
    "",
    " ",
    "\n\n \n",
    "a\r\n\r\n  b\t\tc   ",
    "don't DON'T we'll I'VE 'tis ''s",
    "1234567890 ½ ² 三 Ⅷ",
    "Yaoundé São Tomé Nukuʻalofa Chișinău naïve e\u0301",
    "日本語 한국어 🙂👍🏽 العربية",
    '<think>\n\n</think>\n\n<tool_call>{"a": -1.5e3}</tool_call>x<|im_end|>\n<|im_start|>',
    "<|im_start |> <think <tools> </tools>  <|fim_prefix|>a <|fim_suffix|> b<|fim_middle|>",
    "def f(x):\n    return x**2  # ok\n\n\n",
    "https://example.org/a?b=c&d=%20 foo_bar fooBar --memory 4GB",
]


@given(st.text())
@settings(max_examples=300)
def test_nothing_is_lost(text: str) -> None:
    assert shipped().decode(shipped().encode(text)) == text


def test_the_vocabulary() -> None:
    tokenizer = shipped()
    assert len(tokenizer.tokens) == len(set(tokenizer.tokens)) == VOCABULARY_TOKENS
    assert tokenizer.tokens[-len(SPECIAL) :] == SPECIAL
    assert [tokenizer.decode([token]) for token in tokenizer.encode("2047")] == list("2047")
    assert len(tokenizer.encode("<|im_start|>assistant\n<think>\n\n</think>\n\n")) == 7


def test_llama_cpp_tokenises_as_training_does(tiny_f32: Path) -> None:
    texts = [*ODD_TEXTS, *(text_of(item) for item in islice(documents(77), 1500))]
    tokenizer = shipped()
    with LlamaModel(tiny_f32, context_tokens=256) as model:
        for text in texts:
            assert model.tokenize(text) == tokenizer.encode(text), text
            assert model.text_of(model.tokenize(text)) == tokenizer.decode(tokenizer.encode(text))


@pytest.mark.parametrize("script", ["Latin", "mixed"])
def test_llama_cpp_tokenises_generated_text_alike(tiny_f32: Path, script: str) -> None:
    letters = (
        st.characters(min_codepoint=32, max_codepoint=0x24F)
        if script == "Latin"
        else st.characters(exclude_categories=["Cs", "Cn", "Co"])
    )
    tokenizer = shipped()
    with LlamaModel(tiny_f32, context_tokens=256) as model:

        @given(st.text(letters, min_size=1).filter(lambda text: "\0" not in text))
        @settings(max_examples=200)
        def alike(text: str) -> None:
            assert model.tokenize(text) == tokenizer.encode(text)

        alike()


def test_training_is_reproducible_and_greedy() -> None:
    texts = ["low lower lowest", "new newer newest", "wide wider widest"] * 3
    size = 256 + len(SPECIAL) + 6
    first, second = train(texts, size), train(reversed(texts), size)
    assert first.merges == second.merges and len(first.merges) == 6
    assert from_merges(list(first.ranks)).encode("lowest newest") == first.encode("lowest newest")


def test_too_little_text_is_refused() -> None:
    with pytest.raises(ValueError, match="hold only 2 merges"):
        train(["abc"], 4096)
