"""The planner: makes a plan from a model, a machine and a request. Pure.

all weights + KV + buffers fit ───────────────► resident
else routed experts, architecture proven ─────► expert-streaming: the rest stays, slots get what is left
else architecture proven ─────────────────────► dense-streaming: tensors pinned while they fit,
                                                FFN streams first, then attention too
else ─────────────────────────────────────────► llama.cpp's own mmap, and the plan's reason says so
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypura.sizes import MAX_MEMORY_BYTES
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.gguf import architectures
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import Model
from hypura_daemon.planning.assembly import make_plan
from hypura_daemon.planning.dense_streaming import dense_streaming, streamable
from hypura_daemon.planning.expert_streaming import expert_streaming
from hypura_daemon.planning.inputs import PlanInputs, plan_inputs
from hypura_daemon.planning.placement import offload, resident_tier
from hypura_daemon.planning.plan import LoadRequest, MemoryItem, MemoryKind, Mode, Plan, Tier

_SEARCH_STEP_BYTES = 1_000_000
_STREAMED = (Mode.EXPERT_STREAMING, Mode.DENSE_STREAMING)
"""The modes in which attention may be unfused; a resident model is computed as stock llama.cpp does."""
_BEFORE_THE_CONTEXT = (MemoryKind.WEIGHTS, MemoryKind.WORKER_PROCESS, MemoryKind.VOCABULARY)
"""The memory items of a worker that has just read the weights; the memory for the context is still free then."""
_ANSWER_TOKENS = 128
_WORTHWHILE_SHARE = 0.97
"""Unfused attention must take less than this share of a request's time: a smaller gain is neither worth other low bits
of logits, nor more than the error of the estimate."""


def plan(model: Model, hardware: HardwareProfile, drive: DriveProfile | None, request: LoadRequest) -> Plan:
    """The plan to run the model in request.memory_limit_bytes of resident memory.

    Raises BudgetTooSmall (with the smallest sufficient limit), ContextTooLong, InvalidRequest (no limit suffices).
    """
    inputs = plan_inputs(model, hardware, drive, request)
    made = _best_plan(inputs)
    if made is None:
        raise inputs.too_small(_min_memory_bytes(inputs))
    return made


def largest_context(
    model: Model, hardware: HardwareProfile, drive: DriveProfile | None, request: LoadRequest, *, step_tokens: int
) -> int:
    """The largest context below request.context_tokens that has a plan, in steps of step_tokens; 0 for none."""

    def fits(tokens: int) -> bool:
        return _fits(plan_inputs(model, hardware, drive, replace(request, context_tokens=tokens)))

    low, high = 0, -(-request.context_tokens // step_tokens)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step_tokens) else (low, middle)
    return low * step_tokens


def _best_plan(inputs: PlanInputs) -> Plan | None:
    """The plan of the first mode that fits, with unfused attention if that is clearly quicker; None if no mode fits."""
    fused = _by_mode(inputs)
    if fused is None or fused.mode not in _STREAMED or not inputs.may_unfuse:
        return fused
    unfused = _by_mode(replace(inputs, unfused_attention=True))
    if unfused is None or unfused.mode is not fused.mode:
        return fused
    return unfused if _request_seconds(unfused) < _WORTHWHILE_SHARE * _request_seconds(fused) else fused


def _fits(inputs: PlanInputs) -> bool:
    """Whether there is a plan. Only the smallest ubatch is tried, since it has the smallest buffers."""
    return _by_mode(replace(inputs, smallest_ubatch=True)) is not None


def _request_seconds(made: Plan) -> float:
    """The estimated time of a prompt of 512 tokens and its answer."""
    speed = made.estimate.tok_per_second
    return made.estimate.ttft_seconds + (_ANSWER_TOKENS / speed if speed else 0.0)


def _by_mode(inputs: PlanInputs) -> Plan | None:
    """The plan of the first mode that fits, in the order above; None if no mode fits."""
    by_experts, by_layers = _streamable_by(inputs.model)
    if (resident := _resident(inputs)) is not None:
        return resident
    if by_experts and (streamed := expert_streaming(inputs)) is not None:
        return streamed
    if by_layers and (streamed := dense_streaming(inputs)) is not None:
        return streamed
    return None if by_experts or by_layers else _mmap(inputs)


def _min_memory_bytes(inputs: PlanInputs) -> int:
    """The smallest memory limit with a plan, to a megabyte: found by about 60 trials at most.

    Raises InvalidRequest if no limit has a plan.
    """

    def fits(memory_limit_bytes: int) -> bool:
        return _fits(replace(inputs, request=replace(inputs.request, memory_limit_bytes=memory_limit_bytes)))

    low, high = inputs.request.memory_limit_bytes, max(inputs.request.memory_limit_bytes, _SEARCH_STEP_BYTES)
    while not fits(high):
        if high == MAX_MEMORY_BYTES:
            raise InvalidRequest(
                f"{inputs.model.name} cannot be loaded with any amount of memory, because the request asks for "
                f"{_requested(inputs)}; leave that out, or raise it"
            )
        low, high = high, min(2 * high, MAX_MEMORY_BYTES)
    while high - low > _SEARCH_STEP_BYTES:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _requested(inputs: PlanInputs) -> str:
    """The parts of the request that no amount of memory may satisfy, in words."""
    request, words = inputs.request, [f"a context of {inputs.context_tokens} tokens"]
    if request.weight_cache_percent is not None:
        words.append(f"a weight cache of {request.weight_cache_percent:g} %")
    if request.weight_cache_bytes is not None:
        words.append(f"a weight cache of {request.weight_cache_bytes} bytes")
    return " and ".join(reversed(words))


def _streamable_by(model: Model) -> tuple[bool, bool]:
    """Whether the model can be streamed by experts, and whether by layers: if its architecture is proven lossless."""
    experts = model.hyperparameters.expert_count > 0 and any(t.role is Role.ROUTED_EXPERT for t in model.tensors)
    name = model.architecture
    return experts and name in architectures.EXPERT_STREAMING, name in architectures.DENSE_STREAMING


def _resident(inputs: PlanInputs) -> Plan | None:
    """The resident plan; None if it does not fit, or if a limited weight cache requires streaming that is possible."""
    model, limit = inputs.model, inputs.request.memory_limit_bytes
    weights = sum(tensor.size_bytes for tensor in model.tensors)
    streamable = _streamable_bytes(model)
    cache = inputs.cache_limit(streamable)
    if cache is not None and cache < streamable:
        return None
    reason = "all of it fits in memory"
    if cache is not None and not streamable:
        reason += "; the weight cache has no effect, since nothing of this model can be streamed"
    for ubatch in inputs.ubatches:
        layers, on_gpu = offload(inputs, ubatch, streamed=frozenset())
        items = [
            MemoryItem(MemoryKind.WEIGHTS, weights - on_gpu),
            *inputs.buffers(ubatch, model.hyperparameters.expert_count),
        ]
        if sum(item.size_bytes for item in items) <= limit:
            tiers = {tensor.name: resident_tier(tensor, layers, model) for tensor in model.tensors}
            return make_plan(
                inputs,
                Mode.RESIDENT,
                reason,
                ubatch,
                items,
                tiers,
                gpu_layers=layers,
                extra_buffers=inputs.hardware.extra_buffers_work
                and not inputs.request.exact
                and _can_repack(model, items, limit),
            )
    return None


def _can_repack(model: Model, items: Sequence[MemoryItem], memory_limit_bytes: int) -> bool:
    """Whether the largest tensor can be read beside its place during the load, which only repacked tensors need."""
    there = sum(item.size_bytes for item in items if item.kind in _BEFORE_THE_CONTEXT)
    return there + max(tensor.size_bytes for tensor in model.tensors) <= memory_limit_bytes


def _streamable_bytes(model: Model) -> int:
    """The size of the weights that are streamed first if the model does not fit; 0 if none can be streamed."""
    by_experts, by_layers = _streamable_by(model)
    if by_experts:
        return sum(t.size_bytes for t in model.tensors if t.role is Role.ROUTED_EXPERT)
    if not by_layers:
        return 0
    sizes = (sum(t.size_bytes for t in streamable(model.tensors, attention=a)) for a in (False, True))
    return next((size for size in sizes if size), 0)


def _mmap(inputs: PlanInputs) -> Plan:
    """The plan that leaves the weights to llama.cpp and the page cache."""
    model = inputs.model
    ubatch = next((u for u in inputs.ubatches if inputs.buffers_are_modest(u, 0)), inputs.ubatches[-1])
    items = inputs.buffers(ubatch, model.hyperparameters.expert_count)
    limits = "the memory limit" if inputs.cache_limit(0) is None else "memory limit and weight cache"
    return make_plan(
        inputs,
        Mode.MMAP,
        f"streaming {model.architecture} is not proven lossless, so llama.cpp maps the file and the system "
        f"pages it; {limits} cannot be enforced, and it will be slow",
        ubatch,
        items,
        dict.fromkeys((t.name for t in model.tensors), Tier.RAM),
    )
