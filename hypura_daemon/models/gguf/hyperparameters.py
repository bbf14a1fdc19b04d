"""The numbers that describe a network, read from a header's metadata and range-checked.

Names and defaults follow llama.cpp (llama_model_base::load_hparams in llama-model.cpp).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.gguf.header import LongArray, MetadataValue, TensorInfo

MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
_MAX_TOKENS = 1 << 30
_MAX_LENGTH = 1 << 24
_MAX_HEADS = 1 << 16


class Pooling(IntEnum):
    """How the vector of a text is made from those of its tokens (llama_pooling_type)."""

    NONE = 0
    MEAN = 1
    FIRST = 2
    LAST = 3
    RANK = 4


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Lengths are in values. 0 (or empty) means that the network has no such thing.

    block_count counts the blocks for multi-token prediction (nextn_predict_layers) too. head_count and
    head_count_kv have one entry per block. feed_forward_length, expert_feed_forward_length and
    expert_used_count are the largest of any block. sliding_window_layers: for each block, whether it sees
    only the window; sliding_window_period says the same as "every n-th block sees everything". Which of the two a file
    has, if any, depends on its architecture.
    """

    block_count: int
    embedding_length: int
    context_length: int
    vocabulary_tokens: int
    feed_forward_length: int
    head_count: tuple[int, ...]
    head_count_kv: tuple[int, ...]
    key_length: int
    value_length: int
    key_length_window: int
    value_length_window: int
    rope_dimension_count: int
    kv_lora_rank: int
    shared_kv_layers: int
    sliding_window: int
    sliding_window_period: int
    sliding_window_layers: tuple[bool, ...]
    full_attention_interval: int
    recurrent_layers: tuple[bool, ...]
    expert_count: int
    expert_used_count: int
    expert_feed_forward_length: int
    expert_shared_count: int
    leading_dense_block_count: int
    nextn_predict_layers: int
    ssm_conv_kernel: int
    ssm_inner_size: int
    ssm_state_size: int
    ssm_time_step_rank: int
    ssm_group_count: int
    wkv_head_size: int
    shortconv_cache: int
    kda_head_dim: int
    pooling_type: Pooling
    causal: bool

    @property
    def computed_block_count(self) -> int:
        """The number of blocks in a pass: all but those for multi-token prediction."""
        return self.block_count - self.nextn_predict_layers


def read_hyperparameters(
    path: Path, architecture: str, metadata: Mapping[str, MetadataValue], tensors: Sequence[TensorInfo]
) -> Hyperparameters:
    """The hyperparameters. Raises ModelFileError for a value that is missing, of a wrong type or out of range."""
    keys = _Keys(path, architecture, metadata)
    blocks = keys.number("block_count", 1, MAX_LAYERS)
    embedding = keys.number("embedding_length", 1, _MAX_LENGTH)
    heads = keys.per_block("attention.head_count", blocks, _MAX_HEADS, (0,) * blocks)
    key_length = keys.number("attention.key_length", 0, _MAX_LENGTH, embedding // max(heads) if max(heads) else 0)
    value_length = keys.number("attention.value_length", 0, _MAX_LENGTH, embedding // max(heads) if max(heads) else 0)
    experts = keys.number("expert_count", 0, MAX_EXPERTS, 0)
    used = max(keys.per_block("expert_used_count", blocks, MAX_EXPERTS, (0,) * blocks))
    feed_forward = max(keys.per_block("feed_forward_length", blocks, _MAX_LENGTH, (0,) * blocks))
    if architecture.startswith("hunyuan") and experts <= 1:
        experts = used = 0  # As llama.cpp does: its dense models are converted as one expert.
    if used > experts or (experts and not used):
        raise keys.bad("expert_used_count", used, f"1 to {experts}" if experts else "0")
    return Hyperparameters(
        block_count=blocks,
        embedding_length=embedding,
        context_length=keys.number("context_length", 1, _MAX_TOKENS),
        vocabulary_tokens=_vocabulary_tokens(keys, metadata, tensors),
        feed_forward_length=feed_forward,
        head_count=heads,
        head_count_kv=keys.per_block("attention.head_count_kv", blocks, _MAX_HEADS, heads),
        key_length=key_length,
        value_length=value_length,
        key_length_window=keys.number("attention.key_length_swa", 0, _MAX_LENGTH, key_length),
        value_length_window=keys.number("attention.value_length_swa", 0, _MAX_LENGTH, value_length),
        rope_dimension_count=keys.number("rope.dimension_count", 0, _MAX_LENGTH, key_length),
        kv_lora_rank=_kv_lora_rank(keys),
        shared_kv_layers=keys.number("attention.shared_kv_layers", 0, blocks, 0),
        sliding_window=keys.number("attention.sliding_window", 0, _MAX_TOKENS, 0),
        sliding_window_period=keys.period("attention.sliding_window_pattern"),
        sliding_window_layers=keys.flags("attention.sliding_window_pattern", blocks),
        full_attention_interval=keys.number("full_attention_interval", 0, MAX_LAYERS, 0),
        recurrent_layers=keys.flags("attention.recurrent_layers", blocks),
        expert_count=experts,
        expert_used_count=used,
        expert_feed_forward_length=_expert_feed_forward(keys, blocks, experts, feed_forward, tensors),
        expert_shared_count=keys.number("expert_shared_count", 0, MAX_EXPERTS, 0),
        leading_dense_block_count=keys.number("leading_dense_block_count", 0, MAX_LAYERS, 0),
        nextn_predict_layers=_nextn_predict_layers(keys, architecture, blocks, tensors),
        ssm_conv_kernel=keys.number("ssm.conv_kernel", 0, _MAX_LENGTH, 0),
        ssm_inner_size=keys.number("ssm.inner_size", 0, _MAX_LENGTH, 0),
        ssm_state_size=keys.number("ssm.state_size", 0, _MAX_LENGTH, 0),
        ssm_time_step_rank=keys.number("ssm.time_step_rank", 0, _MAX_LENGTH, 0),
        ssm_group_count=keys.number("ssm.group_count", 0, _MAX_LENGTH, 0),
        wkv_head_size=keys.number("wkv.head_size", 0, _MAX_LENGTH, 0),
        shortconv_cache=keys.number("shortconv.l_cache", 0, _MAX_LENGTH, 0),
        kda_head_dim=keys.number("kda.head_dim", 0, _MAX_LENGTH, 0),
        pooling_type=_pooling(keys.number("pooling_type", 0, 0xFFFFFFFF, 0)),
        causal=metadata.get(f"{architecture}.attention.causal") is not False,
    )


def length_of(value: MetadataValue | None) -> int:
    """The number of elements of an array, kept or not; 0 for anything else."""
    if isinstance(value, LongArray):
        return value.count
    return len(value) if isinstance(value, tuple) else 0


def _kv_lora_rank(keys: "_Keys") -> int:
    """Only files with MLA lengths keep compressed rows in the KV cache; older conversions keep whole heads."""
    rank = keys.number("attention.kv_lora_rank", 0, _MAX_LENGTH, 0)
    return rank if keys.number("attention.key_length_mla", 0, _MAX_LENGTH, 0) else 0


def _nextn_predict_layers(keys: "_Keys", architecture: str, blocks: int, tensors: Sequence[TensorInfo]) -> int:
    """deepseek4's block_count includes its prediction layers only if the file has them (src/models/deepseek4.cpp)."""
    given = keys.number("nextn_predict_layers", 0, blocks, 0)
    held = any(tensor.name == f"blk.{blocks - given}.nextn.eh_proj.weight" for tensor in tensors)
    return given if held or architecture != "deepseek4" else 0


def _pooling(given: int) -> Pooling:
    """The pooling; NONE for 4294967295, which is llama.cpp's "unspecified", and for unknown numbers."""
    return Pooling(given) if given <= max(Pooling) else Pooling.NONE


def _vocabulary_tokens(keys: "_Keys", metadata: Mapping[str, MetadataValue], tensors: Sequence[TensorInfo]) -> int:
    """The size of the vocabulary; rather the rows of the embedding, since logits are computed for them."""
    rows = next((t.shape[1] for t in tensors if t.name == "token_embd.weight" and len(t.shape) > 1), 0)
    tokens = length_of(metadata.get("tokenizer.ggml.tokens"))
    return rows or tokens or keys.number("vocab_size", 0, _MAX_TOKENS, 0)


def _expert_feed_forward(
    keys: "_Keys", blocks: int, experts: int, feed_forward: int, tensors: Sequence[TensorInfo]
) -> int:
    """The expert's feed-forward length. Mixtral and Grok call it feed_forward_length; else the tensors show it."""
    if not experts:
        return 0
    if given := max(keys.per_block("expert_feed_forward_length", blocks, _MAX_LENGTH, (0,) * blocks)):
        return given
    return max((t.shape[0] for t in tensors if t.name.endswith(".ffn_down_exps.weight")), default=feed_forward)


class _Keys:
    """Typed access to the metadata of one architecture."""

    def __init__(self, path: Path, architecture: str, metadata: Mapping[str, MetadataValue]) -> None:
        self._path = path
        self._architecture = architecture
        self._metadata = metadata

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from low to high; required if there is no default."""
        value = self._metadata.get(f"{self._architecture}.{key}", default)
        if value is None:
            raise ModelFileError(
                f"{self._path} has no metadata key {self._architecture}.{key}; convert the model again"
            )
        return self._checked(key, value, low, high)

    def per_block(self, key: str, blocks: int, high: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """One number for all blocks, or an array with one for each."""
        value = self._metadata.get(f"{self._architecture}.{key}")
        if value is None:
            return default
        if not isinstance(value, tuple):
            return (self._checked(key, value, 0, high),) * blocks
        if len(value) != blocks:
            raise self.bad(key, f"an array of {len(value)}", f"one number, or {blocks}, one per block")
        return tuple(self._checked(key, item, 0, high) for item in value)

    def flags(self, key: str, blocks: int) -> tuple[bool, ...]:
        """An array with a truth value per block; empty when it is a number, or missing."""
        value = self._metadata.get(f"{self._architecture}.{key}")
        if not isinstance(value, tuple):
            return ()
        if len(value) != blocks:
            raise self.bad(key, f"an array of {len(value)}", f"{blocks} values, one per block")
        return tuple(bool(item) for item in value)

    def period(self, key: str) -> int:
        """A number of blocks; 0 when it is an array, or missing."""
        value = self._metadata.get(f"{self._architecture}.{key}", 0)
        return 0 if isinstance(value, tuple) else self._checked(key, value, 0, MAX_LAYERS)

    def bad(self, key: str, value: object, wanted: str) -> ModelFileError:
        """The error for a wrong value."""
        return ModelFileError(
            f"{self._path}: metadata key {self._architecture}.{key} is {value}, not {wanted}; "
            "the file is damaged or was converted wrongly"
        )

    def _checked(self, key: str, value: object, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            shown = repr(value)
            raise self.bad(key, shown if len(shown) < 80 else shown[:80] + "…", f"a whole number from {low} to {high}")
        return value
