"""The expected speed of a plan: a cost model of computing and reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.gguf.hyperparameters import Hyperparameters
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import ModelTensor
from hypura_daemon.planning.plan import Bound, Estimate, Tier

_LAYER_SECONDS = 0.15e-3
"""Of a layer on the CPU, besides its products and attention: norms, and threads waiting for each other."""
_CONTEXT_TOKENS = 576
_ATTENTION_CORE_SECONDS, _UNFUSED_ATTENTION_CORE_SECONDS = 0.7e-9, 0.35e-9
"""Of one element of one head and one token of the context: 48 layers of 32 heads of 128 take 38 ms more after 512
tokens than after 32, with two cores. Estimates are for a prompt of 512 tokens and an answer. Unfused, such a token
takes 8 to 31 ms less, 20 in the mean (docs/measurements.md, twelfth version)."""
_UNFUSED_PROMPTS = 1.07
"""How much longer the same machine takes for a prompt of 512 tokens when attention is unfused."""
_STREAMED_LAYER_SECONDS = 0.1e-3
"""What the hook adds to a streamed layer: 5 ms for 48 layers (docs/measurements.md, eighth version)."""
_REPACKED_GAIN = 1.5
"""Qwen3-30B-A3B's shape takes 75 ms with repacked weights where 98 to 130 are usual."""
_SHARE_OF_MEMORY = 0.5
"""The share of memory bandwidth that products reach with types whose speed was not measured."""
_GPU_BYTES_PER_SECOND = 300e9
_UNKNOWN_MEMORY_BYTES_PER_SECOND = 20e9
_UNKNOWN_DRIVE_BYTES_PER_SECOND = 1e9
_PREFILL_SPEEDUP = 5.0
_TTFT_PROMPT_TOKENS = 512
_HIT_EXPONENT, _HIT_EXPONENT_FALL = 2.85, 0.455
"""hit = 1 - (1 - share)^k with k = 2.85 / share^0.455: between recorded routings of Qwen3-30B-A3B (35 % at 4 % of the
experts, 62 % at 11 %, 81 % at 22 %) and random weights, whose choices depend less on the token before (61 % at
13 %, 85 % at 35 %), both with the learned replacement. With few experts to choose from, as Mixtral's 2 of 8, there is
little to learn: 71 % hits at 70 %."""
_MIN_CHOICE, _WIDE_CHOICE = 2, 4
"""log2 of experts per chosen expert: where past choices predict nothing, and where they predict as above."""
_PREFETCH_LAYERS = 1.2
"""How many layers of computing hide a layer's reads: experts are predicted one layer ahead, some of them two."""
_NOT_PREFETCHED = 0.15
"""The share of missing experts that was not predicted, or too late: the pass waits for it, whatever the drive."""
_WASTED_PREFETCHES = 0.15
"""Prefetches for wrong predictions, as a share of the missing experts."""
_READING_CORE_SECONDS_PER_BYTE = 0.16e-9
"""What reading costs the cores that compute: llama.cpp with everything resident loses 0.03 to 0.13 ms per MB that
another program reads at the same time, with two cores (tests/bench/beside.py; docs/measurements.md, tenth version)."""
_NOT_OVERLAPPED_IN_PROMPTS = 0.2


@dataclass(frozen=True, slots=True)
class Streaming:
    """What a plan streams. slot_share: slots per routed expert; dense_bytes: read in every pass."""

    slot_share: float = 1.0
    dense_bytes: int = 0


def estimate(
    tensors: Sequence[tuple[ModelTensor, Tier]],
    hyper: Hyperparameters,
    hardware: HardwareProfile,
    drive: DriveProfile | None,
    ubatch_tokens: int,
    streaming: Streaming,
    *,
    unfused_attention: bool = False,
) -> Estimate:
    """The seconds and bytes of one decoded token, and of a 512-token prompt."""
    routed_share = hyper.expert_used_count / hyper.expert_count if hyper.expert_count else 1.0
    fused = _compute_seconds(tensors, hyper, routed_share, hardware, _ATTENTION_CORE_SECONDS)
    compute, prompt_factor = fused, 1.0
    if unfused_attention:
        compute = _compute_seconds(tensors, hyper, routed_share, hardware, _UNFUSED_ATTENTION_CORE_SECONDS)
        prompt_factor = _UNFUSED_PROMPTS
    routed_bytes = sum(t.size_bytes for t, tier in tensors if t.role is Role.ROUTED_EXPERT and tier is Tier.NVME)
    bandwidth = (drive.bytes_per_second if drive is not None else 0) or _UNKNOWN_DRIVE_BYTES_PER_SECOND
    per_byte = _READING_CORE_SECONDS_PER_BYTE / max(1, hardware.usable_cores)
    if streaming.dense_bytes:
        hit, missed = 0.0, float(streaming.dense_bytes)
        read = missed / bandwidth
        token = max(compute + missed * per_byte, read)
    else:
        hit = _hit_rate(streaming.slot_share, 1 / routed_share)
        missed = routed_bytes * routed_share * (1 - hit)
        read = missed / bandwidth
        layers = len({t.layer for t, tier in tensors if t.role is Role.ROUTED_EXPERT and tier is Tier.NVME})
        apiece = routed_bytes / bandwidth / max(1, layers * hyper.expert_count)
        token = compute + missed * (1 + _WASTED_PREFETCHES) * per_byte + _waiting(compute, read, apiece, layers)
    passes = -(-_TTFT_PROMPT_TOKENS // ubatch_tokens)
    touched = 1 - (1 - routed_share) ** min(ubatch_tokens, _TTFT_PROMPT_TOKENS)
    per_pass = streaming.dense_bytes or routed_bytes * touched * (1 - min(streaming.slot_share, 1.0))
    prompt = _TTFT_PROMPT_TOKENS * fused * prompt_factor / _PREFILL_SPEEDUP
    prompt += passes * per_pass * per_byte
    reading = passes * per_pass / bandwidth
    ttft = max(prompt, reading) + _NOT_OVERLAPPED_IN_PROMPTS * min(prompt, reading)
    return Estimate(
        tok_per_second=1 / token if token else 0.0,
        ttft_seconds=ttft,
        bytes_read_per_token=int(missed),
        compute_seconds_per_token=compute,
        read_seconds_per_token=read,
        hit_rate=hit if streaming.slot_share < 1 or streaming.dense_bytes else 1.0,
        bound=Bound.DRIVE if read > compute else Bound.COMPUTE,
    )


def _compute_seconds(
    tensors: Sequence[tuple[ModelTensor, Tier]],
    hyper: Hyperparameters,
    routed_share: float,
    hardware: HardwareProfile,
    attention_core_seconds: float,
) -> float:
    """The computing time of one decoded token; attention_core_seconds: of one element."""
    memory = _SHARE_OF_MEMORY * (hardware.memory_bytes_per_second or _UNKNOWN_MEMORY_BYTES_PER_SECOND)
    speeds = {speed.type: speed.bytes_per_second for speed in hardware.type_speeds}
    gpu = cpu = 0.0
    for tensor, tier in tensors:
        if tensor.role is Role.EMBEDDING:
            continue
        share = routed_share if tensor.role in (Role.ROUTED_EXPERT, Role.EXPERT_VECTOR) else 1.0
        if tier is Tier.GPU:
            gpu += tensor.size_bytes * share / _GPU_BYTES_PER_SECOND
        else:
            cpu += tensor.size_bytes * share / (speeds.get(tensor.type) or memory)
    cpu_layers = {tensor.layer for tensor, tier in tensors if tier is not Tier.GPU and tensor.layer >= 0}
    streamed_layers = {tensor.layer for tensor, tier in tensors if tier is Tier.NVME and tensor.layer >= 0}
    if hardware.extra_buffers_work and not streamed_layers:
        cpu /= _REPACKED_GAIN
    elements = sum(hyper.head_count[layer] * hyper.key_length for layer in cpu_layers if layer < len(hyper.head_count))
    attention = elements * _CONTEXT_TOKENS * attention_core_seconds / max(1, hardware.usable_cores)
    return gpu + cpu + attention + len(cpu_layers) * _LAYER_SECONDS + len(streamed_layers) * _STREAMED_LAYER_SECONDS


def _waiting(compute: float, read: float, apiece: float, layers: int) -> float:
    """The seconds of a token's reads that computing does not hide; apiece: seconds to read one expert.

    Either a layer misses several experts, or one of several layers misses one.
    """
    if not read:
        return 0.0
    at_once = max(apiece, read / layers)
    shown = max(0.0, at_once - _PREFETCH_LAYERS * compute / layers)
    return min(read, read / at_once * shown + _NOT_PREFETCHED * read)


def _hit_rate(slot_share: float, choice: float) -> float:
    """The expected hit rate; choice: experts per chosen expert."""
    if slot_share <= 0:
        return 0.0
    learned = (math.log2(choice) - _MIN_CHOICE) / (_WIDE_CHOICE - _MIN_CHOICE)
    exponent: float = 1 + min(1.0, max(0.0, learned)) * (_HIT_EXPONENT / slot_share**_HIT_EXPONENT_FALL - 1)
    return 1.0 - math.pow(1 - min(slot_share, 1.0), exponent)
