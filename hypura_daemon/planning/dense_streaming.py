"""Dense-streaming plans: whole layers through a ring, as many as fit pinned."""

from __future__ import annotations

from hypura_daemon.planning import ring
from hypura_daemon.planning.assemble import assemble
from hypura_daemon.planning.estimate import Streaming
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.offload import offload, resident_tier
from hypura_daemon.planning.types import DensePlan, MemoryItem, Mode, Plan, Tier


def dense_streaming(frame: Frame) -> Plan | None:
    """Layers through the ring; None if two of them do not fit."""
    model = frame.model
    for attention in (False, True):
        layers = ring.streamable(model.tensors, frame.padding_bytes(1 << 20), attention=attention)
        if not layers.size_bytes:
            continue
        streamable = sum(layers.size_bytes.values())
        cache = frame.cache_limit(streamable)
        for ubatch in frame.ubatches:
            everything = frozenset().union(*layers.names.values())
            gpu_layers, on_gpu = offload(frame, ubatch, streamed=everything)
            bare = sum(t.size_bytes for t in model.tensors if t.name not in everything)
            items = [MemoryItem("weights", bare - on_gpu), *frame.buffers(ubatch, model.hyperparameters.expert_count)]
            fixed = sum(item.size_bytes for item in items)
            left = frame.request.memory_bytes - fixed
            if cache is not None:
                left = min(left, max(cache, ring.LEAST_DEPTH * layers.largest_bytes))
            chosen = ring.pin(layers, left)
            if chosen is None or (
                not frame.buffers_are_modest(ubatch, model.hyperparameters.expert_count)
                and ubatch > 1
                and not frame.request.exact
            ):
                continue
            pinned, depth = chosen
            streamed = {name for layer, names in layers.names.items() if layer not in pinned for name in names}
            kept = sum(t.size_bytes for t in model.tensors if t.name in everything - streamed)
            items[0] = MemoryItem("weights", items[0].size_bytes + kept)
            items.append(MemoryItem("ring", depth * layers.largest_bytes))
            tiers = {
                t.name: Tier.NVME if t.name in streamed else resident_tier(t, gpu_layers, model) for t in model.tensors
            }
            order = tuple(sorted(layer for layer in layers.size_bytes if layer not in pinned))
            return assemble(
                frame,
                Mode.DENSE_STREAMING,
                f"{len(order)} of {len(layers.size_bytes)} layers are read in every pass"
                + (", attention included" if attention else ""),
                ubatch,
                items,
                tiers,
                gpu_layers=gpu_layers,
                streaming=Streaming(dense_bytes=sum(t.size_bytes for t in model.tensors if t.name in streamed)),
                dense=DensePlan(order, pinned, depth, layers.largest_bytes, attention),
            )
    return None
