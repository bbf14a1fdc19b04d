"""Who runs: hypura by its plan, and stock llama.cpp of the same build beside it. Plans from plans; no effects."""

from __future__ import annotations

from dataclasses import dataclass

from hypura.v1 import placement_pb2 as placement

STOCK_UBATCH_TOKENS = 512
"""llama.cpp's own default: a smaller one, as a tight budget may plan, would hobble its prompts."""
_STREAMING = (placement.MODE_EXPERT_STREAMING, placement.MODE_DENSE_STREAMING)


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that are compared. limit_bytes: its cgroup's; None for no limit. once: one run tells all."""

    name: str
    plan: placement.Plan
    limit_bytes: int | None
    once: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """As the daemon sets it: graphs of nodes whose weights move must not be replayed."""
        graphs = self.plan.gpu_layers > 0 and self.plan.mode in _STREAMING
        return {"GGML_CUDA_DISABLE_GRAPHS": "1"} if graphs else {}


def stock(plan: placement.Plan, *, mmap: bool, extra_buffers: bool) -> placement.Plan:
    """Stock llama.cpp with the plan's threads, context and KV cache: no hook, nothing streamed.

    extra_buffers: whether weights may be repacked, which ends their being mapped.
    """
    made = placement.Plan()
    made.CopyFrom(plan)
    made.mode = placement.MODE_MMAP if mmap else placement.MODE_RESIDENT
    made.ClearField("experts")
    made.ClearField("dense")
    made.ClearField("estimate")
    made.io.direct = False
    made.extra_buffers = extra_buffers and not mmap
    made.resident_bytes, made.streamed_bytes = plan.model_bytes, 0
    if not plan.exact:
        made.ubatch_tokens = min(STOCK_UBATCH_TOKENS, plan.context_tokens)
    for tensor in made.tensors:
        if tensor.tier == placement.TIER_NVME:
            tensor.tier = placement.TIER_RAM
    return made


def fits(plan: placement.Plan, available_bytes: int) -> bool:
    """Whether all of the model could be resident, with room for its buffers and the rest of the system."""
    beside = sum(item.size_bytes for item in plan.memory if item.name not in ("weights", "expert slots", "ring"))
    return plan.model_bytes + beside <= 0.85 * available_bytes
