"""The test models themselves: their bytes say what they claim, and stock llama.cpp runs them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.random_architectures import list_architectures, write_random_model
from tests.models.shapes import SHAPES, shape_named
from tests.models.tensors import tensors_of
from tests.models.tokenizer import make_vocabulary
from tests.models.weights import BlockType, WeightSource, random_blocks
from tests.models.writer import DiskFull, write_synthetic_model

ROOT = Path(__file__).parents[1]

# llama.cpp aborts its process on a bad model, and must be imported before numpy: so it runs in a child.
PROBE = """
import json, os, sys
import llama_cpp as l
import numpy as np

path, prompt = sys.argv[1], sys.argv[2].encode()
parameters = l.llama_model_default_params()
parameters.use_extra_bufts, parameters.n_gpu_layers = False, 0
model = l.llama_model_load_from_file(path.encode(), parameters)
if not model:
    sys.exit("the model does not load")
parameters = l.llama_context_default_params()
parameters.n_ctx, parameters.n_ubatch = 256, 64
parameters.n_threads = parameters.n_threads_batch = 1
context = l.llama_init_from_model(model, parameters)
if not context:
    sys.exit("no context")
vocabulary = l.llama_model_get_vocab(model)
size = l.llama_vocab_n_tokens(vocabulary)
tokens = [3, 50, 7, 99, 21, 64, 5, 80]
if prompt:
    found = (l.llama_token * 256)()
    count = l.llama_tokenize(vocabulary, prompt, len(prompt), found, 256, True, True)
    tokens = list(found[:count])
pieces = b""
for token in tokens:
    if prompt:
        room = l.ctypes.create_string_buffer(64)
        length = l.llama_token_to_piece(vocabulary, token, room, 64, 0, True)
        pieces += room.raw[:length]
batch = l.llama_batch_init(64, 0, 1)
logits = []
for start, part in ((0, tokens[:-1]), (len(tokens) - 1, tokens[-1:])):
    batch.n_tokens = len(part)
    for index, token in enumerate(part):
        batch.token[index], batch.pos[index], batch.n_seq_id[index] = token, start + index, 1
        batch.seq_id[index][0], batch.logits[index] = 0, 1
    if start == 0 and l.llama_model_has_encoder(model) and l.llama_encode(context, batch):
        sys.exit("encode failed")
    if l.llama_decode(context, batch):
        sys.exit("decode failed")
    logits += [np.ctypeslib.as_array(l.llama_get_logits_ith(context, i), (size,)).copy() for i in range(len(part))]
values = np.array(logits)
print(json.dumps({
    "finite": bool(np.isfinite(values).all()),
    "spread": float(values.std()),
    "tokens": tokens,
    "text": pieces.decode(),
    "end": l.llama_vocab_eos(vocabulary),
    "size": size,
}))
"""


def probe(path: Path, prompt: str = "") -> dict[str, Any]:
    """What stock llama.cpp says about the model after decoding a few tokens."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path), prompt],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("block_type", list(BlockType))
@pytest.mark.parametrize("std", [0.02, 1.0])
def test_blocks_decode_to_the_spread_they_were_made_for(block_type: BlockType, std: float) -> None:
    blocks = random_blocks(np.random.default_rng(1), block_type, 400_000 // block_type.block_values, 0.0, std)
    assert blocks.shape[1] == block_type.block_bytes
    values = gguf.quants.dequantize(blocks.reshape(1, -1), gguf.GGMLQuantizationType(block_type.number))
    assert abs(values.std() / std - 1) < 0.02
    assert abs(values.mean()) < 0.02 * std


@settings(max_examples=40)
@given(st.sampled_from(list(BlockType)), st.integers(1, 3000), st.integers(1, 40_000))
def test_a_source_gives_exactly_the_blocks_asked_for(block_type: BlockType, blocks: int, pool: int) -> None:
    chunks = list(WeightSource(1, pool).chunks(block_type, blocks, 0.0, 0.02))
    assert sum(len(chunk) for chunk in chunks) == blocks * block_type.block_bytes


@pytest.mark.parametrize(
    ("name", "values_billion", "size_gb"),
    [
        ("qwen3-30b-a3b", 30.5, (17, 21)),
        ("mixtral-8x7b", 46.7, (26, 32)),
        ("llama-70b", 70.6, (39, 45)),
        ("gpt-oss-120b", 116.8, (61, 66)),
    ],
)
def test_real_shapes_have_the_real_models_number_of_weights(
    name: str, values_billion: float, size_gb: tuple[int, int]
) -> None:
    tensors = tensors_of(shape_named(name), "mixed")
    assert sum(tensor.values for tensor in tensors) / 1e9 == pytest.approx(values_billion, rel=0.01)
    assert size_gb[0] < sum(tensor.size_bytes for tensor in tensors) / 1e9 < size_gb[1]


def test_gpt_oss_experts_have_the_size_that_is_no_multiple_of_a_page() -> None:
    gate = next(t for t in tensors_of(shape_named("gpt-oss-120b"), "mixed") if "gate_exps.weight" in t.name)
    assert gate.size_bytes // 128 == 4_406_400


@pytest.mark.parametrize("quant", ["mixed", "q8_0", "f16"])
@pytest.mark.parametrize("name", ["tiny-moe", "tiny-dense"])
def test_tiny_models_run_and_tokenise_text(tmp_path: Path, name: str, quant: Any) -> None:
    path = tmp_path / "model.gguf"
    size_bytes = write_synthetic_model(name, path, quant=quant)
    assert path.stat().st_size == size_bytes
    prompt = "<|im_start|>user\nThe café, and 42 things.<|im_end|>\n"
    answer = probe(path, prompt)
    assert answer["finite"] and answer["spread"] > 0.1
    assert answer["size"] == SHAPES[name].vocabulary
    assert answer["text"] == prompt
    assert answer["end"] == answer["size"] - 1
    assert answer["end"] in answer["tokens"], "the special token must be one token"


def test_gpt_oss_layout_runs_with_its_biases_and_sinks(tmp_path: Path) -> None:
    """One real layer would be 3 GB: the tiny width keeps the tensor list and the MXFP4 blocks."""
    tiny = replace(
        SHAPES["gpt-oss-120b"],
        name="tiny-gpt-oss",
        layers=2,
        embedding=288,
        heads=4,
        kv_heads=2,
        feed_forward=288,
        vocabulary=1024,
        experts=8,
    )
    SHAPES[tiny.name] = tiny
    try:
        write_synthetic_model(tiny.name, tmp_path / "model.gguf")
    finally:
        del SHAPES[tiny.name]
    answer = probe(tmp_path / "model.gguf", "Hello there")
    assert answer["finite"] and answer["spread"] > 0.1


def test_experts_differ_and_seeds_decide_the_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.gguf" for number in range(3)]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        write_synthetic_model("tiny-moe", path, layers=2, seed=seed)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()
    reader = gguf.GGUFReader(paths[0])
    fused = next(tensor for tensor in reader.tensors if tensor.name == "blk.1.ffn_up_exps.weight")
    slices = {bytes(expert) for expert in np.asarray(fused.data).reshape(16, -1)}
    assert len(slices) == 16


def test_the_header_is_read_back_by_the_gguf_package(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_synthetic_model("tiny-moe", path, layers=3)
    reader = gguf.GGUFReader(path)
    assert reader.fields["qwen3moe.block_count"].contents() == 3
    assert reader.fields["qwen3moe.expert_used_count"].contents() == 4
    assert len(reader.fields["tokenizer.ggml.tokens"].data) == 4096
    assert "<|im_start|>" in reader.fields["tokenizer.chat_template"].contents()
    expected = {tensor.name: tensor for tensor in tensors_of(shape_named("tiny-moe", 3), "mixed")}
    assert {tensor.name for tensor in reader.tensors} == set(expected)
    for tensor in reader.tensors:
        assert tensor.n_bytes == expected[tensor.name].size_bytes
    down = {t.name: t.type for t in expected.values() if "ffn_down_exps" in t.name}
    assert set(down.values()) == {BlockType.Q4_K, BlockType.Q6_K}


@pytest.mark.parametrize("size", [400, 32_000, 151_936])
def test_every_token_is_there_once(size: int) -> None:
    vocabulary = make_vocabulary(size)
    assert len(vocabulary.tokens) == len(vocabulary.types) == len(set(vocabulary.tokens)) == size
    known = set(vocabulary.tokens)
    for merge in vocabulary.merges:
        assert {*merge.split(" "), merge.replace(" ", "")} <= known


def test_a_model_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DiskFull, match="free"):
        write_synthetic_model("tiny-moe", tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tests.models.writer._write_tensor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_model("tiny-moe", tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    out = tmp_path / "missing" / "model.gguf"
    command = [sys.executable, "-m", "tests.models", "--shape", "tiny-moe", "--out"]
    done = subprocess.run([*command, str(out)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and str(out.parent) in done.stderr
    out = tmp_path / "model.gguf"
    command = [*command, str(out), "--layers", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "layers must be between" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    ("architecture", "moe"),
    [
        ("llama", True),
        ("llama", False),
        ("gpt-oss", True),
        ("qwen3moe", True),
        ("qwen35moe", True),
        ("t5", False),
    ],
)
def test_random_models_run(tmp_path: Path, architecture: str, moe: bool, aligned: bool) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(architecture, moe, path, aligned=aligned)
    answer = probe(path)
    assert answer["finite"] and answer["spread"] > 0.1
    slices = {
        tensor.n_bytes // 8 % 4096 == 0
        for tensor in gguf.GGUFReader(path).tensors
        if tensor.name.endswith("_exps.weight")
    }
    assert slices == ({aligned} if moe else set())


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "moe"), list_architectures())
def test_every_random_model_runs(tmp_path: Path, architecture: str, moe: bool) -> None:
    path = tmp_path / "model.gguf"
    write_random_model(architecture, moe, path)
    assert probe(path)["finite"]


def test_expert_scales_and_biases_are_there_to_be_moved(tmp_path: Path) -> None:
    """Weights alone left fourteen architectures wrong in the fourth digit: tests need the rest too."""
    path = tmp_path / "model.gguf"
    write_random_model("qwen3moe", True, path)
    assert {"blk.1.ffn_down_exps.scale", "blk.3.ffn_gate_exps.scale"} <= names(path)
    write_random_model("qwen3moe", True, path, scales=False, tied=True)
    assert not any(name.endswith("scale") for name in names(path))
    assert "output.weight" not in names(path)
    assert probe(path)["finite"]
    write_random_model("gpt-oss", True, path)
    assert {"blk.0.ffn_gate_exps.bias", "blk.0.ffn_up_exps.bias", "blk.0.ffn_down_exps.bias"} <= names(path)


def test_random_models_are_reproducible_and_sized_as_asked(tmp_path: Path) -> None:
    first, second, other = (tmp_path / f"{name}.gguf" for name in ("first", "second", "other"))
    write_random_model("olmoe", True, first, layers=2, experts=4, experts_used=2)
    write_random_model("olmoe", True, second, layers=2, experts=4, experts_used=2)
    write_random_model("olmoe", True, other, layers=2, experts=4, experts_used=2, seed=2)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    fields = gguf.GGUFReader(first).fields
    assert (fields["olmoe.block_count"].contents(), fields["olmoe.expert_count"].contents()) == (2, 4)


@pytest.mark.parametrize(
    ("architecture", "moe", "layers"),
    [("nonsense", False, None), ("llama4", False, None), ("gemma3n", False, 3)],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, architecture: str, moe: bool, layers: int | None) -> None:
    with pytest.raises(ValueError, match=architecture):
        write_random_model(architecture, moe, tmp_path / "model.gguf", layers=layers)


def test_llama_cpp_dying_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="could not make llama"):
        write_random_model("llama", True, tmp_path / "model.gguf", experts=4, experts_used=5)
    assert list(tmp_path.iterdir()) == []


def names(path: Path) -> set[str]:
    return {tensor.name for tensor in gguf.GGUFReader(path).tensors}
