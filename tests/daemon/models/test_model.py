"""Models: hyperparameters and their defaults, split files, files that are not models, and capabilities."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from hypura_daemon.errors import ModelFileError, UnsupportedModel
from hypura_daemon.models.gguf.architectures import DIFFUSERS, ENCODERS, KNOWN, NO_LANGUAGE_MODELS
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import Model, open_model, templated
from hypura_daemon.models.overrides import TemplateStyle
from tests.daemon.models.files import (
    DENSE,
    DENSE_TENSORS,
    INT32,
    MOE,
    MOE_TENSORS,
    Q4_0,
    Value,
    Weights,
    array,
    gguf_bytes,
    scalar,
    write_model,
    write_split,
)
from tests.models.writer import write_synthetic_model


def opened(tmp_path: Path, content: bytes) -> Model:
    return open_model(write_model(tmp_path / "m.gguf", content), "m:latest")


def dense_with(**values: Value) -> bytes:
    return gguf_bytes({**DENSE, **{f"llama.{key}": value for key, value in values.items()}})


def test_a_dense_model(tmp_path: Path) -> None:
    model = opened(tmp_path, gguf_bytes())
    numbers = model.hyperparameters
    assert (model.name, model.architecture, model.quantization) == ("m:latest", "llama", "F32")
    assert (numbers.block_count, numbers.head_count, numbers.head_count_kv) == (2, (4, 4), (2, 2))
    assert (numbers.key_length, numbers.value_length, numbers.rope_dimension_count) == (16, 16, 16)
    assert (numbers.vocabulary_tokens, numbers.expert_count, numbers.expert_feed_forward_length) == (100, 0, 0)
    assert [(tensor.role, tensor.layer) for tensor in model.tensors] == [
        (Role.EMBEDDING, -1), (Role.ATTENTION, 0), (Role.DENSE_FFN, 1), (Role.OUTPUT, -1),
    ]  # fmt: skip
    assert model.parameters == 2 * 6400 + 4096 + 8192
    assert (model.generates, model.capabilities, model.chat_template) == (True, ("completion",), "")
    status = model.files[0].path.stat()
    assert (model.files[0].modified_nanoseconds, model.files[0].inode) == (status.st_mtime_ns, status.st_ino)
    assert model.size_bytes == status.st_size


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    numbers = opened(tmp_path, gguf_bytes(MOE, MOE_TENSORS)).hyperparameters
    assert (numbers.expert_count, numbers.expert_used_count) == (4, 2)
    assert numbers.expert_feed_forward_length == 96  # from the tensor: Mixtral's metadata does not say it


def test_a_synthetic_model(tmp_path: Path) -> None:
    write_synthetic_model("tiny-moe", tmp_path / "m.gguf")
    model = open_model(tmp_path / "m.gguf", "m")
    assert model.quantization == "Q4_K_M"
    assert any(tensor.role is Role.ROUTED_EXPERT for tensor in model.tensors)
    assert model.chat_template and model.generates


def test_numbers_per_layer(tmp_path: Path) -> None:
    values: dict[str, Value] = {
        "attention.head_count": [8, 0],
        "attention.head_count_kv": [2, 0],
        "feed_forward_length": [128, 256],
        "attention.sliding_window": 512,
        "attention.sliding_window_pattern": [True, False],
        "attention.key_length": 32,
        "attention.recurrent_layers": [False, True],
        "attention.kv_lora_rank": 24,
    }
    content = dense_with(**values)
    numbers = opened(tmp_path, content).hyperparameters
    assert (numbers.head_count, numbers.head_count_kv, numbers.feed_forward_length) == ((8, 0), (2, 0), 256)
    assert (numbers.sliding_window, numbers.sliding_window_layers) == (512, (True, False))
    assert (numbers.sliding_window_period, numbers.recurrent_layers) == (0, (False, True))
    assert (numbers.key_length, numbers.key_length_window, numbers.value_length) == (32, 32, 8)
    assert numbers.kv_lora_rank == 0  # without MLA lengths llama.cpp keeps whole heads
    mla = opened(tmp_path, dense_with(**{"attention.kv_lora_rank": 24, "attention.key_length_mla": 48}))
    assert mla.hyperparameters.kv_lora_rank == 24


def test_layers_that_predict_further_tokens(tmp_path: Path) -> None:
    """They are in the file and not in memory; deepseek4's key says 1 even if the file has none."""
    weights = (Weights("blk.0.ffn_up.weight"), Weights("blk.1.ffn_up.weight"))
    model = opened(tmp_path, gguf_bytes({**DENSE, "llama.nextn_predict_layers": 1}, weights))
    assert [t.layer for t in model.tensors] == [0, 1]
    assert [t.layer for t in model.loaded_tensors] == [0]
    keys: dict[str, Value] = {key.replace("llama", "deepseek4"): value for key, value in DENSE.items()}
    keys |= {"general.architecture": "deepseek4", "deepseek4.nextn_predict_layers": 1}
    assert [t.layer for t in opened(tmp_path, gguf_bytes(keys, weights)).loaded_tensors] == [0, 1]
    held = (*weights, Weights("blk.1.nextn.eh_proj.weight"))
    assert [t.layer for t in opened(tmp_path, gguf_bytes(keys, held)).loaded_tensors] == [0]


def test_unusual_but_valid_numbers(tmp_path: Path) -> None:
    period = opened(tmp_path, dense_with(**{"attention.sliding_window_pattern": 6})).hyperparameters
    assert (period.sliding_window_period, period.sliding_window_layers) == (6, ())
    unspecified = opened(tmp_path, dense_with(pooling_type=0xFFFFFFFF))
    assert unspecified.generates
    keys: dict[str, Value] = {key.replace("llama", "hunyuan-dense"): value for key, value in DENSE.items()}
    keys |= {"general.architecture": "hunyuan-dense", "hunyuan-dense.expert_count": 1}
    assert opened(tmp_path, gguf_bytes(keys)).hyperparameters.expert_count == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dense_with(block_count=0), "block_count is 0, not a whole number from 1 to 512"),
        (dense_with(block_count=513), "block_count is 513"),
        (dense_with(block_count=1), "'blk.1.ffn_up.weight' is outside the 1 blocks"),
        (dense_with(block_count="two"), "block_count is 'two'"),
        (dense_with(block_count=True), "block_count is True"),
        (dense_with(block_count=2.0), r"block_count is 2\.0"),
        (dense_with(block_count=[2]), "block_count is .2,."),
        (dense_with(context_length=0), "context_length is 0"),
        (dense_with(context_length=(1 << 31)), "context_length is 2147483648"),
        (dense_with(embedding_length=scalar(INT32, -1)), "embedding_length is -1"),
        (dense_with(**{"attention.head_count": [4, 4, 4]}), "head_count is an array of 3, not one number, or 2"),
        (dense_with(**{"attention.head_count": [4, -4]}), "head_count is -4"),
        (dense_with(**{"attention.head_count": ["a", "b"]}), "head_count is 'a'"),
        (dense_with(**{"attention.head_count": array(INT32, 2000, bytes(8000))}), "head_count is LongArray"),
        (dense_with(**{"attention.sliding_window_pattern": [True]}), "pattern is an array of 1"),
        (dense_with(expert_count=8), "expert_used_count is 0, not 1 to 8"),
        (dense_with(expert_used_count=8), "expert_used_count is 8, not 0"),
        (dense_with(expert_count=2000, expert_used_count=1), "expert_count is 2000"),
        (gguf_bytes({**MOE, "llama.expert_count": 8}, MOE_TENSORS), "does not fit the 8 experts"),
        (gguf_bytes(DENSE, MOE_TENSORS), "does not fit the 0 experts"),
        (gguf_bytes({"general.architecture": "llama"}), "no metadata key llama.block_count"),
        (gguf_bytes({"general.name": "x"}), "has no general.architecture"),
        (gguf_bytes({**DENSE, "general.architecture": 3}), "has no general.architecture"),
        (gguf_bytes({**DENSE, "split.count": 2}), "one of 2 parts by its split.count"),
    ],
)
def test_wrong_numbers(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=words):
        opened(tmp_path, content)


@pytest.mark.parametrize(
    ("metadata", "tensors", "words"),
    [
        ({"general.architecture": "clip"}, DENSE_TENSORS, "vision projector"),
        ({**DENSE, "general.type": "mmproj"}, DENSE_TENSORS, "vision projector"),
        ({**DENSE, "general.type": "adapter"}, DENSE_TENSORS, "LoRA"),
        ({"general.architecture": "eagle3"}, DENSE_TENSORS, "draft model"),
        ({"general.architecture": "skynet"}, DENSE_TENSORS, "architecture 'skynet'"),
        (DENSE, (), "no tensors"),
        ({**DENSE, "llama.nextn_predict_layers": 1}, (Weights("blk.1.ffn_up.weight"),), "only layers that predict"),
        ({**DENSE, "llama.nextn_predict_layers": 2}, DENSE_TENSORS, "only layers that predict"),
        (MOE, (Weights("blk.0.ffn_up.0.weight"),), "one tensor per expert"),
    ],
)
def test_files_that_are_not_models(
    metadata: dict[str, Value], tensors: tuple[Weights, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        opened(tmp_path, gguf_bytes(metadata, tensors))


@pytest.mark.parametrize(
    ("metadata", "capabilities"),
    [
        ({"tokenizer.chat_template": "{% if tools %}{% endif %}"}, ("completion", "tools")),
        ({"tokenizer.chat_template.tool_use": "{{ tools }}"}, ("completion", "tools")),
        ({"tokenizer.chat_template": "<think>"}, ("completion", "thinking")),
        ({"tokenizer.ggml.fim_pre_token_id": 7}, ("completion", "insert")),
        ({"tokenizer.ggml.prefix_token_id": 7}, ("completion", "insert")),
        *(({"llama.pooling_type": pooling}, ("embedding",)) for pooling in (1, 2, 3)),
        *(({"llama.pooling_type": pooling}, ("completion",)) for pooling in (0, 5, 77, 0xFFFFFFFF)),
        ({"llama.pooling_type": 4}, ()),  # it ranks texts
        ({"llama.attention.causal": False}, ("embedding",)),
    ],
)
def test_capabilities(metadata: dict[str, Value], capabilities: tuple[str, ...], tmp_path: Path) -> None:
    assert opened(tmp_path, gguf_bytes({**DENSE, **metadata})).capabilities == capabilities


def test_quantization_labels(tmp_path: Path) -> None:
    assert opened(tmp_path, gguf_bytes({**DENSE, "general.file_type": 15})).quantization == "Q4_K_M"
    assert opened(tmp_path, gguf_bytes({**DENSE, "general.file_type": 1024 + 7})).quantization == "Q8_0"
    assert opened(tmp_path, gguf_bytes({**DENSE, "general.file_type": 999})).quantization == "F32"
    mostly = (Weights("token_embd.weight", (64, 8)), Weights("blk.0.ffn_up.weight", (64, 128), Q4_0))
    assert opened(tmp_path, gguf_bytes(DENSE, mostly)).quantization == "Q4_0"


def test_architectures_are_those_of_the_installed_llama_cpp() -> None:
    """After an update of llama.cpp this finds removed names; new ones must be examined by hand."""
    spec = find_spec("llama_cpp")
    assert spec is not None and spec.origin is not None
    library = next(Path(spec.origin).parent.joinpath("lib").glob("libllama.*")).read_bytes()
    names = KNOWN | set(NO_LANGUAGE_MODELS) | ENCODERS | DIFFUSERS
    # The compiler may put a short name in the code itself, as a number.
    assert [name for name in names if len(name) > 7 and name.encode() + b"\0" not in library] == []
    assert ENCODERS | DIFFUSERS <= KNOWN


def test_any_part_of_a_split_model_opens_it(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    for path in paths:
        model = open_model(path, "big")
        assert [file.path for file in model.files] == paths
        assert [(tensor.file, tensor.layer) for tensor in model.tensors] == [(0, 0), (1, 1), (2, 2)]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    paths[1].unlink()
    with pytest.raises(ModelFileError, match=r"of the 3 parts .* big-00002-of-00003\.gguf cannot be found"):
        open_model(paths[0], "big")


@pytest.mark.parametrize(
    ("number", "metadata", "words"),
    [
        (0, {**DENSE, "split.no": 0, "split.count": 2}, "split.count 2"),
        (0, DENSE, "split.count 0"),
        (1, {"split.no": 2, "split.count": 3}, "split.no 2, not 1"),
        (1, {}, "split.no -1, not 1"),
        (0, {**DENSE, "split.no": 0, "split.count": 3, "split.tensors.count": 9}, "split.tensors.count 9"),
    ],
)
def test_parts_that_do_not_belong_together(number: int, metadata: dict[str, Value], words: str, tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    paths[number].write_bytes(gguf_bytes(metadata, [Weights(f"blk.{number}.attn_q.weight")]))
    with pytest.raises(ModelFileError, match=words):
        open_model(paths[0], "big")


def test_a_tensor_in_two_parts(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    paths[2].write_bytes(gguf_bytes({"split.no": 2, "split.count": 3}, [Weights("blk.0.attn_q.weight")]))
    with pytest.raises(ModelFileError, match=r"'blk.0.attn_q.weight' in two of its parts"):
        open_model(paths[0], "big")


@pytest.mark.parametrize("name", ["m-00000-of-00002.gguf", "m-00003-of-00002.gguf", "m-00001-of-99999.gguf"])
def test_impossible_part_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be part"):
        open_model(write_model(tmp_path / name), "m")


@pytest.mark.parametrize(
    ("had", "template", "style", "capabilities"),
    [
        (("completion", "tools", "insert"), "{{ .Prompt }}", "go", ("completion", "insert")),
        (("completion",), "{{ .Prompt }}{{ .Suffix }}{{ .Tools }}", "go", ("completion", "insert", "tools")),
        (("completion", "insert"), "{{ messages }}{{ tools }}", "jinja", ("completion", "insert", "tools")),
        (("embedding",), "{{ .Tools }}", "go", ("embedding",)),
    ],
)
def test_a_template_determines_capabilities(
    had: tuple[str, ...], template: str, style: TemplateStyle, capabilities: tuple[str, ...]
) -> None:
    """A model whose file has the tokens for a gap can fill it with any template, so its capabilities must say so."""
    assert templated(had, template, style) == capabilities
