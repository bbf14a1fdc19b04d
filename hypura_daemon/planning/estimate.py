"""What a plan is expected to do: a cost model of computing and reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.hyperparameters import Hyperparameters
from hypura_daemon.models.model import ModelTensor
from hypura_daemon.models.tensors import Role
from hypura_daemon.planning.types import Bound, Estimate, Tier

_COMPUTE_EFFICIENCY = 0.55
"""Decode reads active weights at this share of the measured memory bandwidth: Qwen3-30B-A3B's 1.9 GB take
163 ms where memory gives about 21 GB/s."""
_GPU_BYTES_PER_SECOND = 300e9
_UNKNOWN_MEMORY_BYTES_PER_SECOND = 20e9
_UNKNOWN_DRIVE_BYTES_PER_SECOND = 1e9
_PREFILL_SPEEDUP = 3.0
_TTFT_PROMPT_TOKENS = 512
_HIT_EXPONENT = 6.3
"""Fitted to recorded routings of Qwen3-30B-A3B under LRU: hit = 1 - (1 - share)^6.3 gives 52 % at 11 % of the
experts (54 measured) and 80 % at 22 % (78 measured)."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """slot_share: slots over all routed experts; below_one_token: fewer slots than one token chooses;
    dense_bytes: read in every pass."""

    slot_share: float = 1.0
    below_one_token: bool = False
    dense_bytes: int = 0


def estimate(
    tensors: Sequence[tuple[ModelTensor, Tier]],
    hyper: Hyperparameters,
    hardware: HardwareProfile,
    drive: DriveProfile | None,
    ubatch_tokens: int,
    streaming: Streaming,
) -> Estimate:
    """Seconds and bytes of one decoded token, and of a 512-token prompt."""
    routed_share = hyper.expert_used_count / hyper.expert_count if hyper.expert_count else 1.0
    active = {Tier.GPU: 0.0, Tier.RAM: 0.0}
    routed_bytes = 0
    for tensor, tier in tensors:
        if tensor.role is Role.EMBEDDING:
            continue
        share = routed_share if tensor.role in (Role.ROUTED_EXPERT, Role.EXPERT_VECTOR) else 1.0
        active[Tier.GPU if tier is Tier.GPU else Tier.RAM] += tensor.size_bytes * share
        if tensor.role is Role.ROUTED_EXPERT and tier is Tier.NVME:
            routed_bytes += tensor.size_bytes
    memory = (hardware.memory_bytes_per_second or _UNKNOWN_MEMORY_BYTES_PER_SECOND) * _COMPUTE_EFFICIENCY
    compute = active[Tier.RAM] / memory + active[Tier.GPU] / _GPU_BYTES_PER_SECOND
    bandwidth = (drive.bytes_per_second if drive is not None else 0) or _UNKNOWN_DRIVE_BYTES_PER_SECOND
    if streaming.dense_bytes:
        hit, missed = 0.0, float(streaming.dense_bytes)
        read = missed / bandwidth
        token = max(compute, read)
    else:
        hit = 0.0 if streaming.below_one_token else 1 - (1 - streaming.slot_share) ** _HIT_EXPONENT
        missed = routed_bytes * routed_share * (1 - hit)
        read = missed / bandwidth
        token = compute + read  # experts are read when they are asked for, not ahead
    passes = -(-_TTFT_PROMPT_TOKENS // ubatch_tokens)
    touched = 1 - (1 - routed_share) ** min(ubatch_tokens, _TTFT_PROMPT_TOKENS)
    per_pass = streaming.dense_bytes or routed_bytes * touched * (1 - min(streaming.slot_share, 1.0))
    ttft = _TTFT_PROMPT_TOKENS * compute / _PREFILL_SPEEDUP + passes * per_pass / bandwidth
    return Estimate(
        tok_per_second=1 / token if token else 0.0,
        ttft_seconds=ttft,
        bytes_read_per_token=int(missed),
        compute_seconds_per_token=compute,
        read_seconds_per_token=read,
        hit_rate=hit if streaming.slot_share < 1 or streaming.dense_bytes else 1.0,
        bound=Bound.DRIVE if read > compute else Bound.COMPUTE,
    )
