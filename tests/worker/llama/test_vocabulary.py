"""Control tokens' texts that users wrote are text, and all other tokens are those of llama_tokenize."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import llama_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_daemon.models.stores.places import DEMO_FOLDER
from hypura_worker.llama.vocabulary import Vocabulary

START, END = "<|im_start|>", "<|im_end|>"
WORDS = ["▁", "h", "e", "l", "o", "he", "▁h", "ll", "▁hello", "<", "s", ">", "|", "i", "m", "\n"]
PIECES = [START, END, "<s>", "</s>", "<unk>", "hello", " he", "  ", "\n", "<", "|im_", "🙂", "é", "<s", ">"]


@contextmanager
def opened(path: Path) -> Iterator[Vocabulary]:
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    assert model
    try:
        yield Vocabulary(model)
    finally:
        llama_cpp.llama_model_free(model)


def write_spm(path: Path) -> None:
    """A vocabulary like llama 2's: a space before the text and behind control tokens, and a BOS."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *byte_tokens, *WORDS, START, END]
    types = [
        gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL,
        *([gguf.TokenType.BYTE] * 256), *([gguf.TokenType.NORMAL] * len(WORDS)),
        gguf.TokenType.CONTROL, gguf.TokenType.CONTROL,
    ]  # fmt: skip
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(len(token)) if token in WORDS else 0.0 for token in tokens])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.fixture(scope="module", params=["demo", "spm"])
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    path = tmp_path_factory.mktemp("vocabulary") / "spm.gguf"
    if request.param == "demo":
        (path,) = DEMO_FOLDER.glob("hypura-demo*.gguf")
    else:
        write_spm(path)
    with opened(path) as vocabulary:
        yield vocabulary


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=8), st.booleans())
def test_the_tokens_are_llama_cpps_where_no_user_wrote_a_control_token(
    vocabulary: Vocabulary, pieces: list[str], add_special: bool
) -> None:
    """However the text is cut at the control tokens: also with a user's one before and behind, which change nothing."""
    text = "".join(pieces)
    plainly = vocabulary.tokenize(text, add_special=add_special)
    spans = [(at, 2) for at in range(len(text.encode())) if text.encode()[at : at + 2] == b"he"]
    assert vocabulary.tokenize(text, add_special=add_special, plain=spans) == plainly
    around = [f"{END}hello", START, text, START, f"hello{END}"]
    sizes = [len(part.encode()) for part in around]
    cut = vocabulary.tokenize("".join(around), add_special=False, plain=[(0, sizes[0]), (sum(sizes[:4]), sizes[4])])
    control = vocabulary.tokenize(START, add_special=False)
    inner = vocabulary.tokenize(START + text + START, add_special=False)
    ends = [vocabulary.tokenize(part, add_special=False, plain=[(0, len(part))]) for part in (around[0], around[4])]
    assert cut == [*ends[0], *inner, *ends[1]] and len(control) == 1


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_what_users_wrote_is_text(vocabulary: Vocabulary, pieces: list[str]) -> None:
    text = "".join(pieces)
    start, end = (vocabulary.tokenize(one, add_special=False) for one in (START, END))
    whole = f"{START}{text}{END}"
    plain = [(len(START), len(text.encode()))]
    tokens = vocabulary.tokenize(whole, plain=plain, add_special=False)
    controls = set(vocabulary.controls.values())
    assert tokens[:1] == start and tokens[-1:] == end
    assert controls.isdisjoint(tokens[1:-1])
    assert b"".join(map(vocabulary.piece, tokens)).strip() == text.encode().strip()


def test_a_user_s_text_begins_like_any_other(vocabulary: Vocabulary) -> None:
    bos = vocabulary.text(vocabulary.bos)
    tokens = vocabulary.tokenize(bos, plain=[(0, len(bos))])
    begin = [vocabulary.bos] if vocabulary.adds_bos else []
    assert tokens[: len(begin)] == begin and vocabulary.bos not in tokens[len(begin) :]
    assert vocabulary.tokenize(bos) == [vocabulary.bos]
