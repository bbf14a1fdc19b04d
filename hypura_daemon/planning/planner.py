"""The planner: from a model, a machine and a request to a plan. Pure.

all weights + KV + buffers fit ───────────────► resident
else routed experts, architecture proven ─────► expert-streaming: the rest stays, slots get what is left
else architecture proven ─────────────────────► dense-streaming: tensors pinned while they fit,
                                                FFN streams first, then attention too
else ─────────────────────────────────────────► llama.cpp's own mmap, with a word to the user
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.gguf import architectures
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import Model
from hypura_daemon.planning.dense_streaming import dense_streaming, streamable
from hypura_daemon.planning.expert_streaming import expert_streaming
from hypura_daemon.planning.frame import MAX_MEMORY_BYTES, Frame, assemble, make_frame
from hypura_daemon.planning.placement import offload, resident_tier
from hypura_daemon.planning.plan import LoadRequest, MemoryItem, MemoryKind, Mode, Plan, Tier

_SEARCH_STEP_BYTES = 1_000_000
_STREAMED = (Mode.EXPERT_STREAMING, Mode.DENSE_STREAMING)
"""Where attention may be unfused: what is all resident is computed as stock llama.cpp does."""
_BEFORE_THE_CONTEXT = (MemoryKind.WEIGHTS, MemoryKind.WORKER_PROCESS, MemoryKind.VOCABULARY)
"""What a worker holds when it has read the weights; the context's memory is still free then."""
_ANSWER_TOKENS = 128
_CLEARLY = 0.97
"""Of the time of a request: less is not worth other low bits, nor more than the estimate knows."""


def plan(model: Model, hardware: HardwareProfile, drive: DriveProfile | None, request: LoadRequest) -> Plan:
    """How to run the model in request.memory_limit_bytes of resident memory.

    Raises BudgetTooSmall (with the least that can run), ContextTooLong, InvalidRequest (also where no budget would do).
    """
    frame = make_frame(model, hardware, drive, request)
    made = _choose(frame)
    if made is None:
        raise frame.too_small(_least_bytes(frame))
    return made


def largest_context(
    model: Model, hardware: HardwareProfile, drive: DriveProfile | None, request: LoadRequest, *, step_tokens: int
) -> int:
    """The most tokens of context below request.context_tokens for which there is a plan, to a step; 0 for none."""

    def fits(tokens: int) -> bool:
        return _fits(make_frame(model, hardware, drive, replace(request, context_tokens=tokens)))

    low, high = 0, -(-request.context_tokens // step_tokens)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step_tokens) else (low, middle)
    return low * step_tokens


def _choose(frame: Frame) -> Plan | None:
    """The mode that fits, with attention unfused where a request is clearly sooner done for it; None if none does."""
    fused = _by_mode(frame)
    if fused is None or fused.mode not in _STREAMED or not frame.may_unfuse:
        return fused
    unfused = _by_mode(replace(frame, unfused_attention=True))
    if unfused is None or unfused.mode is not fused.mode:
        return fused
    return unfused if _request_seconds(unfused) < _CLEARLY * _request_seconds(fused) else fused


def _fits(frame: Frame) -> bool:
    """Whether there is a plan: the smallest ubatch has the smallest buffers, so it alone is tried."""
    return _by_mode(replace(frame, smallest_ubatch=True)) is not None


def _request_seconds(made: Plan) -> float:
    """Of a prompt of 512 tokens and its answer."""
    speed = made.estimate.tok_per_second
    return made.estimate.ttft_seconds + (_ANSWER_TOKENS / speed if speed else 0.0)


def _by_mode(frame: Frame) -> Plan | None:
    """The first mode that fits, as drawn above; None if none does."""
    by_experts, by_layers = _ways(frame.model)
    if (resident := _resident(frame)) is not None:
        return resident
    if by_experts and (streamed := expert_streaming(frame)) is not None:
        return streamed
    if by_layers and (streamed := dense_streaming(frame)) is not None:
        return streamed
    return None if by_experts or by_layers else _mmap(frame)


def _least_bytes(frame: Frame) -> int:
    """The smallest budget for which there is a plan, to a megabyte: found by trying, at most some 60 times.

    Raises InvalidRequest when no budget has one.
    """

    def fits(memory_limit_bytes: int) -> bool:
        return _fits(replace(frame, request=replace(frame.request, memory_limit_bytes=memory_limit_bytes)))

    low, high = frame.request.memory_limit_bytes, max(frame.request.memory_limit_bytes, _SEARCH_STEP_BYTES)
    while not fits(high):
        if high == MAX_MEMORY_BYTES:
            raise InvalidRequest(
                f"{frame.model.name} can be loaded with no amount of memory as the request stands: it asks for "
                f"{_asked(frame)}; leave that out, or raise it"
            )
        low, high = high, min(2 * high, MAX_MEMORY_BYTES)
    while high - low > _SEARCH_STEP_BYTES:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _asked(frame: Frame) -> str:
    """What of the request may keep a model out of any memory, in words."""
    request, words = frame.request, [f"a context of {frame.context_tokens} tokens"]
    if request.weight_cache_percent is not None:
        words.append(f"a weight cache of {request.weight_cache_percent:g} %")
    if request.weight_cache_bytes is not None:
        words.append(f"a weight cache of {request.weight_cache_bytes} bytes")
    return " and ".join(reversed(words))


def _ways(model: Model) -> tuple[bool, bool]:
    """Whether the model may be streamed by experts, and whether by layers: as far as its architecture is proven."""
    experts = model.hyperparameters.expert_count > 0 and any(t.role is Role.ROUTED_EXPERT for t in model.tensors)
    name = model.architecture
    return experts and name in architectures.EXPERT_STREAMING, name in architectures.DENSE_STREAMING


def _resident(frame: Frame) -> Plan | None:
    """Everything in memory, if that fits, unless a limited weight cache asks to stream and something can be."""
    model, limit = frame.model, frame.request.memory_limit_bytes
    weights = sum(tensor.size_bytes for tensor in model.tensors)
    streamable = _streamable_bytes(model)
    cache = frame.cache_limit(streamable)
    if cache is not None and cache < streamable:
        return None
    reason = "all of it fits in memory"
    if cache is not None and not streamable:
        reason += "; the weight cache has no effect, since nothing of this model can be streamed"
    for ubatch in frame.ubatches:
        layers, on_gpu = offload(frame, ubatch, streamed=frozenset())
        items = [
            MemoryItem(MemoryKind.WEIGHTS, weights - on_gpu),
            *frame.buffers(ubatch, model.hyperparameters.expert_count),
        ]
        if sum(item.size_bytes for item in items) <= limit:
            tiers = {tensor.name: resident_tier(tensor, layers, model) for tensor in model.tensors}
            return assemble(
                frame,
                Mode.RESIDENT,
                reason,
                ubatch,
                items,
                tiers,
                gpu_layers=layers,
                extra_buffers=frame.hardware.extra_buffers_work
                and not frame.request.exact
                and _can_repack(model, items, limit),
            )
    return None


def _can_repack(model: Model, items: Sequence[MemoryItem], memory_limit_bytes: int) -> bool:
    """Whether the load has room to read the largest tensor beside its place, which only repacked ones need."""
    there = sum(item.size_bytes for item in items if item.kind in _BEFORE_THE_CONTEXT)
    return there + max(tensor.size_bytes for tensor in model.tensors) <= memory_limit_bytes


def _streamable_bytes(model: Model) -> int:
    """Of the weights that are streamed first where the model does not fit; 0 where none of it can be."""
    by_experts, by_layers = _ways(model)
    if by_experts:
        return sum(t.size_bytes for t in model.tensors if t.role is Role.ROUTED_EXPERT)
    if not by_layers:
        return 0
    sizes = (sum(t.size_bytes for t in streamable(model.tensors, attention=a)) for a in (False, True))
    return next((size for size in sizes if size), 0)


def _mmap(frame: Frame) -> Plan:
    """Leave it to llama.cpp and the page cache."""
    model = frame.model
    ubatch = next((u for u in frame.ubatches if frame.buffers_are_modest(u, 0)), frame.ubatches[-1])
    items = frame.buffers(ubatch, model.hyperparameters.expert_count)
    limits = "the memory limit" if frame.cache_limit(0) is None else "memory limit and weight cache"
    return assemble(
        frame,
        Mode.MMAP,
        f"streaming {model.architecture} is not proven lossless, so llama.cpp maps the file and the system "
        f"pages it; {limits} cannot be kept, and it will be slow",
        ubatch,
        items,
        dict.fromkeys((t.name for t in model.tensors), Tier.RAM),
    )
