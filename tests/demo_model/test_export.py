"""The exported file: its size, its types, its metadata, and that llama.cpp and hypura read it."""

from dataclasses import replace
from pathlib import Path

import pytest

from hypura_daemon.models.model import open_model
from tests.demo_model.conftest import TINY, random_weights
from tests.demo_model.conversation import Check, single
from tests.demo_model.exam import examine
from tests.demo_model.export import MAX_FILE_BYTES, check_file, export, tensor_name
from tests.demo_model.llama_answers import LlamaModel
from tests.demo_model.shape import DEMO, PAGE_BYTES, Shape
from tests.demo_model.weights import Weights, load_weights, save_weights


def test_the_demo_is_small_enough_and_its_slices_are_whole_pages(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights", DEMO, random_weights(DEMO))
    assert all(path.stat().st_size < 16 << 20 for path in (tmp_path / "weights").iterdir())
    told = export(tmp_path / "weights", tmp_path / "demo.gguf")
    assert (tmp_path / "demo.gguf").stat().st_size <= MAX_FILE_BYTES
    assert DEMO.expert_slice_bytes % PAGE_BYTES == 0 and "Q4_K 8,847,360" in told
    assert 17_000_000 < DEMO.parameters < 22_000_000


def test_llama_cpp_answers_with_it(tiny_quantised: Path) -> None:
    with LlamaModel(tiny_quantised, context_tokens=1024) as model:
        (answer,) = model.answer_all([single("facts", "hi", "hello", Check("words", ("hello",)))])
        assert isinstance(answer.text, str)
        result = examine(lambda asked: [answer for _ in asked], ["facts"], 3)
    assert result.scores[0].asked == 3


def test_quantised_experts_are_near_the_exact_ones(tiny_f32: Path, tiny_quantised: Path) -> None:
    with LlamaModel(tiny_f32, 64) as exact, LlamaModel(tiny_quantised, 64) as rounded:
        one, other = exact.logits(range(100, 120)), rounded.logits(range(100, 120))
    assert 0 < abs(one - other).mean() < 0.25 * one.std()


def test_weights_survive_the_folder(tmp_path: Path, tiny_weights: Weights) -> None:
    save_weights(tmp_path, TINY, tiny_weights)
    shape, loaded = load_weights(tmp_path)
    assert shape == TINY and list(loaded) == list(tiny_weights)
    assert all(abs(loaded[name] - value).max() < 1e-3 for name, value in tiny_weights.items())


def test_weights_of_another_shape_are_refused(tmp_path: Path, tiny_weights: Weights) -> None:
    save_weights(tmp_path, replace(TINY, layers=3), tiny_weights)
    with pytest.raises(ValueError, match="do not make up its shape"):
        load_weights(tmp_path)
    (tmp_path / "shape.json").write_text('{"layers": 1, "wheels": 4}')
    with pytest.raises(ValueError, match="no shape of a demo model"):
        load_weights(tmp_path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    large = Shape(layers=7)
    save_weights(tmp_path / "weights", large, random_weights(large))
    with pytest.raises(ValueError, match="more than 12000000; choose a smaller shape"):
        export(tmp_path / "weights", tmp_path / "large.gguf")


def test_every_parameter_has_a_name_in_llama_cpp() -> None:
    names = {tensor_name(name) for name in TINY.parameter_shapes()}
    assert len(names) == len(TINY.parameter_shapes()) and "blk.1.ffn_down_exps.weight" in names
    with pytest.raises(KeyError):
        tensor_name("layers.0.wheels")


def test_the_header(tiny_quantised: Path) -> None:
    model = open_model(tiny_quantised, "demo")
    metadata = model.metadata
    assert model.capabilities == ("completion", "tools", "thinking", "insert")
    assert metadata["general.name"] == "hypura demo" and metadata["general.license"] == "MIT"
    assert metadata["tokenizer.ggml.pre"] == "qwen2" and metadata["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.ggml.fim_pre_token_id" in metadata
    assert "Q4_K" in check_file(tiny_quantised)
