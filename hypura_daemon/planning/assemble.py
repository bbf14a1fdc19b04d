"""Puts a plan together from what its mode decided."""

from __future__ import annotations

from hypura_daemon.planning.estimate import Streaming, estimate
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.types import (
    DensePlan,
    ExpertPlan,
    MemoryItem,
    Mode,
    ModelFile,
    Plan,
    TensorPlacement,
    Tier,
)


def assemble(
    frame: Frame,
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
    model, drive, hardware = frame.model, frame.drive, frame.hardware
    threads = max(1, hardware.usable_cores)
    return Plan(
        model=model.name,
        architecture=model.architecture,
        mode=mode,
        reason=reason,
        files=tuple(ModelFile(str(f.path), f.size_bytes, f.modified_nanoseconds, f.inode) for f in model.files),
        tensors=tuple(
            TensorPlacement(
                t.name, t.type, t.shape, t.role, t.layer, tiers[t.name], t.file, t.offset_bytes, t.size_bytes
            )
            for t in model.tensors
        ),
        memory_limit_bytes=frame.request.memory_limit_bytes,
        memory=tuple(items),
        context_tokens=frame.context_tokens,
        trained_context_tokens=model.hyperparameters.context_length,
        sequences=frame.sequences,
        ubatch_tokens=ubatch,
        threads=threads,
        batch_threads=threads,
        kv_type=frame.kv_type,
        kv_bytes=frame.kv_bytes(ubatch),
        gpu_layers=gpu_layers,
        experts=experts,
        dense=dense,
        io=frame.io(),
        extra_buffers=extra_buffers,
        exact=frame.request.exact,
        embedding_cache_bytes=embedding_cache_bytes,
        unfused_attention=frame.unfused_attention,
        estimate=estimate(
            [(t, tiers[t.name]) for t in model.tensors],
            model.hyperparameters,
            hardware,
            drive,
            ubatch,
            streaming or Streaming(),
            unfused_attention=frame.unfused_attention,
        ),
    )
