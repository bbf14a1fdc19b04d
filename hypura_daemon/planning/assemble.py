"""Puts a plan together from what its mode decided."""

from __future__ import annotations

from hypura_daemon.planning.estimate import Streaming, estimate
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.types import (
    DensePlan,
    ExpertPlan,
    IoPlan,
    MemoryItem,
    Mode,
    ModelFile,
    Plan,
    TensorPlacement,
    Tier,
)

_CHUNK_BYTES = 4 << 20
_LEAST_QUEUE_DEPTH = 4
"""Even where the drive needs no more: demand finds a reader free while others read ahead."""
_QUEUE_DEPTH = 4


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
) -> Plan:
    model, drive, hardware = frame.model, frame.drive, frame.hardware
    threads = max(1, hardware.usable_cores)
    measured = drive is not None and drive.best_queue_depth > 0
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
        memory_limit_bytes=frame.request.memory_bytes,
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
        io=IoPlan(
            chunk_bytes=max(drive.best_block_bytes, 1 << 20) if measured and drive is not None else _CHUNK_BYTES,
            queue_depth=max(drive.best_queue_depth, _LEAST_QUEUE_DEPTH)
            if measured and drive is not None
            else _QUEUE_DEPTH,
            direct=drive.direct if drive is not None else True,
            offset_alignment_bytes=frame.alignment(lambda d: d.offset_alignment_bytes),
            memory_alignment_bytes=frame.alignment(lambda d: d.memory_alignment_bytes),
        ),
        extra_buffers=extra_buffers,
        exact=frame.request.exact,
        estimate=estimate(
            [(t, tiers[t.name]) for t in model.tensors],
            model.hyperparameters,
            hardware,
            drive,
            ubatch,
            streaming or Streaming(),
        ),
    )
