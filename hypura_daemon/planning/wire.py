"""Plans, load requests and tunings as hypura.v1 messages."""

from __future__ import annotations

from dataclasses import fields

from hypura.v1 import control_pb2, placement_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.wire import file_to_proto
from hypura_daemon.planning.plan import Bound, LoadRequest, MemoryKind, Mode, Plan, RunSettings, Tier
from hypura_daemon.planning.tunings import Tuning

_TIERS = {Tier.GPU: placement_pb2.TIER_GPU, Tier.RAM: placement_pb2.TIER_RAM, Tier.NVME: placement_pb2.TIER_NVME}
_MODES = {
    Mode.RESIDENT: placement_pb2.MODE_RESIDENT,
    Mode.EXPERT_STREAMING: placement_pb2.MODE_EXPERT_STREAMING,
    Mode.DENSE_STREAMING: placement_pb2.MODE_DENSE_STREAMING,
    Mode.MMAP: placement_pb2.MODE_MMAP,
}
MEMORY_KINDS: dict[MemoryKind, placement_pb2.MemoryKind] = {
    kind: getattr(placement_pb2, f"MEMORY_KIND_{kind.name}") for kind in MemoryKind
}
_BOUNDS = {Bound.COMPUTE: placement_pb2.BOUND_COMPUTE, Bound.DRIVE: placement_pb2.BOUND_DRIVE}


def load_request(options: control_pb2.LoadOptions) -> LoadRequest:
    """A client's load request; the planner checks its ranges."""
    return LoadRequest(
        memory_limit_bytes=options.memory_limit_bytes,
        context_tokens=options.context_tokens,
        sequences=options.sequences,
        weight_cache_bytes=options.weight_cache_bytes if options.HasField("weight_cache_bytes") else None,
        weight_cache_percent=options.weight_cache_percent if options.HasField("weight_cache_percent") else None,
        exact=options.exact,
        kv_type=options.kv_type,
        settings=run_settings(options.settings),
        untuned=options.untuned,
    )


def run_settings(message: placement_pb2.RunSettings) -> RunSettings:
    """The settings of a message; checked_settings checks their ranges."""
    return RunSettings(**{f.name: getattr(message, f.name) for f in fields(RunSettings) if message.HasField(f.name)})


def settings_to_proto(settings: RunSettings) -> placement_pb2.RunSettings:
    """The message of settings."""
    return placement_pb2.RunSettings(**{f.name: getattr(settings, f.name) for f in fields(RunSettings)})


def mode_to_proto(mode: Mode) -> placement_pb2.Mode:
    """A mode's enum value."""
    return _MODES[mode]


def mode_of(number: int) -> Mode:
    """The mode of an enum value. Raises InvalidRequest for an unknown one."""
    for mode, known in _MODES.items():
        if known == number:
            return mode
    raise InvalidRequest(f"{number} is not a mode of a model; give one of those in placement.proto")


def plan_to_proto(plan: Plan, *, tensors: bool = True) -> placement_pb2.Plan:
    """The plan's message; tensors: with the list of tensors."""
    proto = placement_pb2.Plan(
        model=plan.model,
        architecture=plan.architecture,
        mode=_MODES[plan.mode],
        reason=plan.reason,
        memory_limit_bytes=plan.memory_limit_bytes,
        memory=[
            placement_pb2.MemoryItem(name=i.kind.value, size_bytes=i.size_bytes, kind=MEMORY_KINDS[i.kind])
            for i in plan.memory
        ],
        context_tokens=plan.context_tokens,
        trained_context_tokens=plan.trained_context_tokens,
        sequences=plan.sequences,
        ubatch_tokens=plan.ubatch_tokens,
        threads=plan.threads,
        batch_threads=plan.batch_threads,
        kv_type_k=plan.kv_type,
        kv_type_v=plan.kv_type,
        kv_bytes=plan.kv_bytes,
        gpu_layers=plan.gpu_layers,
        extra_buffers=plan.extra_buffers,
        embedding_cache_bytes=plan.embedding_cache_bytes,
        unfused_attention=plan.unfused_attention,
        exact=plan.exact,
        spin_count=plan.spin_count,
        tuned=plan.tuned,
        model_bytes=plan.model_bytes,
        resident_bytes=plan.resident_bytes,
        streamed_bytes=plan.streamed_bytes,
        io=placement_pb2.IoPlan(
            chunk_bytes=plan.io.chunk_bytes,
            queue_depth=plan.io.queue_depth,
            direct=plan.io.direct,
            offset_alignment_bytes=plan.io.offset_alignment_bytes,
            memory_alignment_bytes=plan.io.memory_alignment_bytes,
        ),
        estimate=placement_pb2.Estimate(
            tok_per_second=plan.estimate.tok_per_second,
            ttft_seconds=plan.estimate.ttft_seconds,
            bytes_read_per_token=plan.estimate.bytes_read_per_token,
            compute_seconds_per_token=plan.estimate.compute_seconds_per_token,
            read_seconds_per_token=plan.estimate.read_seconds_per_token,
            hit_rate=plan.estimate.hit_rate,
            bound=_BOUNDS[plan.estimate.bound],
        ),
        files=[file_to_proto(file) for file in plan.files],
    )
    if plan.experts is not None:
        proto.experts.CopyFrom(
            placement_pb2.ExpertPlan(
                groups=[
                    placement_pb2.ExpertGroup(
                        layers=g.layers, slots=g.slots, slot_bytes=g.slot_bytes, max_slots=g.max_slots
                    )
                    for g in plan.experts.groups
                ],
                experts_per_layer=plan.experts.experts_per_layer,
                experts_per_token=plan.experts.experts_per_token,
                expert_bytes=plan.experts.expert_bytes,
                statistics_path=plan.experts.statistics_path,
            )
        )
    if plan.dense is not None:
        proto.dense.CopyFrom(
            placement_pb2.DensePlan(
                streamed_layers=plan.dense.streamed_layers,
                pinned_layers=plan.dense.pinned_layers,
                ring_depth=plan.dense.ring_depth,
                ring_slot_bytes=plan.dense.ring_slot_bytes,
                max_kept_bytes=plan.dense.max_kept_bytes,
                attention_streamed=plan.dense.attention_streamed,
                streamed_tensors=plan.dense.streamed_tensors,
                pinned_tensors=plan.dense.pinned_tensors,
            )
        )
    if tensors:
        for t in plan.tensors:
            proto.tensors.append(
                placement_pb2.TensorPlacement(
                    name=t.name,
                    type=t.type,
                    shape=t.shape,
                    role=f"TENSOR_ROLE_{t.role.name}",
                    layer=t.layer,
                    tier=_TIERS[t.tier],
                    extent=placement_pb2.Extent(file=t.file, offset_bytes=t.offset_bytes, length_bytes=t.size_bytes),
                )
            )
    return proto


def tuning_of(message: control_pb2.Tuning) -> Tuning:
    """A client's tuning; its ranges are checked when it is saved. Raises InvalidRequest for an unknown mode."""
    return Tuning(
        mode=mode_of(message.mode),
        settings=run_settings(message.settings),
        memory_limit_bytes=message.memory_limit_bytes,
        decode_gain=message.decode_gain,
        prompt_gain=message.prompt_gain,
    )


def tuning_to_proto(tuning: Tuning, machine: str) -> control_pb2.Tuning:
    """The message of a tuning; machine: this machine, which decides whether the tuning is stale."""
    return control_pb2.Tuning(
        mode=mode_to_proto(tuning.mode),
        settings=settings_to_proto(tuning.settings),
        memory_limit_bytes=tuning.memory_limit_bytes,
        decode_gain=tuning.decode_gain,
        prompt_gain=tuning.prompt_gain,
        measured_at_seconds=tuning.measured_at_seconds,
        stale=tuning.machine != machine,
    )
