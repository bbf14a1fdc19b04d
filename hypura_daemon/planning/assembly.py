"""The plan put together of a mode's choices; pure."""

from __future__ import annotations

from hypura_daemon.planning.estimate import Streaming, estimate
from hypura_daemon.planning.inputs import PlanInputs
from hypura_daemon.planning.plan import DensePlan, ExpertPlan, MemoryItem, Mode, Plan, TensorPlacement, Tier


def make_plan(
    inputs: PlanInputs,
    mode: Mode,
    reason: str,
    ubatch: int,
    items: list[MemoryItem],
    tiers: dict[str, Tier],
    *,
    gpu_layers: int = 0,
    extra_buffers: bool = False,
    streaming: Streaming | None = None,
    experts: ExpertPlan | None = None,
    dense: DensePlan | None = None,
    embedding_cache_bytes: int = 0,
) -> Plan:
    """The plan of a mode's choices: its memory items, the tier of every tensor, and what it streams."""
    model, drive, hardware = inputs.model, inputs.drive, inputs.hardware
    threads = max(1, hardware.usable_cores)
    return Plan(
        model=model.name,
        architecture=model.architecture,
        mode=mode,
        reason=reason,
        files=model.files,
        tensors=tuple(
            TensorPlacement(
                t.name, t.type, t.shape, t.role, t.layer, tiers[t.name], t.file, t.offset_bytes, t.size_bytes
            )
            for t in model.tensors
        ),
        memory_limit_bytes=inputs.request.memory_limit_bytes,
        memory=tuple(items),
        context_tokens=inputs.context_tokens,
        trained_context_tokens=model.hyperparameters.context_length,
        sequences=inputs.sequences,
        ubatch_tokens=ubatch,
        threads=threads,
        batch_threads=threads,
        kv_type=inputs.kv_type,
        kv_bytes=inputs.kv_bytes(ubatch),
        gpu_layers=gpu_layers,
        experts=experts,
        dense=dense,
        io=inputs.io(),
        extra_buffers=extra_buffers,
        exact=inputs.request.exact,
        embedding_cache_bytes=embedding_cache_bytes,
        unfused_attention=inputs.unfused_attention,
        estimate=estimate(
            [(t, tiers[t.name]) for t in model.tensors],
            model.hyperparameters,
            hardware,
            drive,
            ubatch,
            streaming or Streaming(),
            unfused_attention=inputs.unfused_attention,
        ),
    )
