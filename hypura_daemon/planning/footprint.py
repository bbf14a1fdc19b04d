"""The memory of a loaded model besides its weights: KV cache, compute and work buffers.

The formulas follow llama.cpp (src/llama-kv-cache.cpp, src/llama-memory-recurrent.cpp, ggml/src/ggml-cpu/ggml-cpu.c) and
are upper bounds where it decides at run time. The worker compares them with what was really allocated, and reduces its
slots if necessary.
"""

from __future__ import annotations

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.gguf.hyperparameters import Hyperparameters

KV_TYPES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_0": 18 / 32}
"""Bytes per element of the KV cache types that llama.cpp's attention reads."""

_F32_BYTES = 4
_KV_PAD_TOKENS = 256
_FULL_ATTENTION_EVERY = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4, "olmo2": 4, "exaone4": 4}
"""One of every so many layers sees the whole context, where the GGUF does not say it (src/models/*.cpp)."""


def kv_element_bytes(kv_type: str) -> float:
    """The bytes of one element. Raises InvalidRequest for a type that the cache cannot have."""
    if kv_type not in KV_TYPES:
        raise InvalidRequest(f"KV cache type {kv_type!r} is unknown; use one of {', '.join(KV_TYPES)}")
    return KV_TYPES[kv_type]


def kv_bytes(
    architecture: str,
    hyper: Hyperparameters,
    context_tokens: int,
    sequences: int,
    ubatch_tokens: int,
    kv_type: str,
) -> int:
    """The size of the KV cache for `context_tokens` in total, and of the recurrent state of each sequence."""
    element = kv_element_bytes(kv_type)
    context = _up(context_tokens, _KV_PAD_TOKENS)
    window = min(context, _up(hyper.sliding_window * sequences + ubatch_tokens, _KV_PAD_TOKENS))
    period = hyper.sliding_window_period or _FULL_ATTENTION_EVERY.get(architecture, 0)
    every = period if hyper.sliding_window and not any(hyper.sliding_window_layers) else 0
    total = 0.0
    for layer in range(hyper.computed_block_count):
        heads = hyper.head_count_kv[layer]
        if _is_recurrent(hyper, layer):
            total += sequences * _state_elements(hyper) * _F32_BYTES
            continue
        if heads == 0:
            continue
        windowed = layer < len(hyper.sliding_window_layers) and hyper.sliding_window_layers[layer]
        tokens = window if windowed or (every and (layer + 1) % every) else context
        if hyper.kv_lora_rank:
            # Multi-head latent attention keeps one compressed row per token, and no V.
            row = float(hyper.kv_lora_rank + hyper.rope_dimension_count)
        else:
            row = float(heads * (hyper.key_length + hyper.value_length))
        total += tokens * row * element
    return int(total)


def compute_bytes(
    hyper: Hyperparameters,
    context_tokens: int,
    logits_rows: int,
    ubatch_tokens: int,
    *,
    unfused_attention: bool = False,
) -> int:
    """The activations of one pass: llama.cpp reuses buffers, so that those of about two layers exist at once.

    logits_rows: each has a value for every token of the vocabulary. Unfused, attention keeps the scores of every head
    and token for the whole context, of one layer at a time and not while that layer's feed-forward part is computed.
    """
    experts = max(hyper.expert_used_count, 1)
    width = max(hyper.feed_forward_length, 2 * experts * hyper.expert_feed_forward_length)
    attention = max(hyper.head_count) * (2 * hyper.key_length + hyper.value_length)
    feed_forward = experts * hyper.embedding_length + 2 * width
    context = _up(context_tokens, _KV_PAD_TOKENS)
    mask = context * (_F32_BYTES + 2)
    scores = context * max(hyper.head_count) if unfused_attention else 0
    rows = 4 * hyper.embedding_length + 2 * attention + max(feed_forward, scores)
    logits = logits_rows * hyper.vocabulary_tokens * _F32_BYTES
    return logits + ubatch_tokens * (rows * _F32_BYTES + mask) + 16_000_000


def work_bytes(hyper: Hyperparameters, slots_per_group: int, ubatch_tokens: int) -> int:
    """The CPU's work buffer: a row mapping of 8 bytes per slot and chosen expert (ggml_graph_plan,
    GGML_OP_MUL_MAT_ID), and the activations quantized for the product."""
    mapping = slots_per_group * max(hyper.expert_used_count, 1) * ubatch_tokens * 8
    width = max(hyper.feed_forward_length, hyper.expert_feed_forward_length, hyper.embedding_length)
    activations = max(hyper.expert_used_count, 1) * ubatch_tokens * width * 2
    return mapping + activations + 4_000_000


def prediction_bytes(hyper: Hyperparameters, streamed_layers: int) -> int:
    """What the worker learns and keeps to predict experts: routers in 8 bits, averages and likelihood of each expert,
    and a count for each pair of experts of neighbouring layers."""
    experts = hyper.expert_count
    return streamed_layers * experts * (hyper.embedding_length + 64 + 2 * experts)


def _is_recurrent(hyper: Hyperparameters, layer: int) -> bool:
    """Whether the layer has a recurrent state instead of a KV cache."""
    if any(hyper.recurrent_layers):
        return hyper.recurrent_layers[layer]
    if not hyper.ssm_inner_size:
        return False
    if hyper.full_attention_interval:
        return (layer + 1) % hyper.full_attention_interval != 0
    return hyper.head_count_kv[layer] == 0


def _state_elements(hyper: Hyperparameters) -> int:
    convolution = max(hyper.ssm_conv_kernel - 1, 0) * (
        hyper.ssm_inner_size + 2 * hyper.ssm_group_count * hyper.ssm_state_size
    )
    return convolution + hyper.ssm_state_size * hyper.ssm_inner_size


def _up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
