"""Plans for worker tests, made straight from a GGUF file: any mode, any number of slots."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy, see hypura_worker.llama.library
from gguf import GGUFReader

from hypura.v1 import placement_pb2 as pb

_EXPERT = re.compile(r"^blk\.(\d+)\.ffn_(gate|up|down|gate_up)_exps\.weight$")
_VECTOR = re.compile(r"^blk\.(\d+)\.ffn_(gate|up|down|gate_up)_exps\.(bias|scale)$")
_BLOCK = re.compile(r"^blk\.(\d+)\.")
_MATRIX = re.compile(r"^blk\.\d+\..*\.weight$")


def _field(reader: GGUFReader, key: str, default: int = 0) -> int:
    field = reader.get_field(key)
    return int(field.parts[field.data[0]][0]) if field is not None else default


def make_plan(
    path: Path,
    mode: pb.Mode,
    *,
    slots: int | None = None,
    ring_depth: int = 2,
    max_kept_bytes: int = 0,
    pinned: tuple[int, ...] = (),
    kept: Callable[[str], bool] = lambda name: False,
    everything: bool = False,
    context_tokens: int = 256,
    ubatch_tokens: int = 8,
    sequences: int = 1,
    offset_alignment: int = 512,
    memory_alignment: int = 4,
    direct: bool = True,
    exact: bool = True,
    threads: int = 2,
    embedding_cache_bytes: int = 0,
    unfused_attention: bool = False,
) -> pb.Plan:
    """A plan for the file. slots: per group (layers with equal experts share a group); everything:
    dense streaming takes every matrix of a block, not only the feed-forward ones, but for layers that are
    pinned and tensors that are kept; max_kept_bytes: of streamed tensors, beside the ring.
    embedding_cache_bytes: room for rows of embeddings, which then stay on the drive where they are not the
    output too."""
    reader = GGUFReader(path)
    architecture_field = reader.get_field("general.architecture")
    assert architecture_field is not None
    architecture = bytes(architecture_field.parts[architecture_field.data[0]]).decode()
    status = path.stat()
    plan = pb.Plan(
        model="test",
        architecture=architecture,
        mode=mode,
        files=[
            pb.ModelFile(
                path=str(path),
                size_bytes=status.st_size,
                modified_nanoseconds=status.st_mtime_ns,
                inode=status.st_ino,
            )
        ],
        memory_limit_bytes=1 << 40,
        context_tokens=context_tokens,
        sequences=sequences,
        ubatch_tokens=ubatch_tokens,
        threads=threads,
        batch_threads=threads,
        kv_type_k="f16",
        kv_type_v="f16",
        unfused_attention=unfused_attention,
        io=pb.IoPlan(
            chunk_bytes=1 << 20,
            queue_depth=4,
            direct=direct,
            offset_alignment_bytes=offset_alignment,
            memory_alignment_bytes=memory_alignment,
        ),
        exact=exact,
        embedding_cache_bytes=embedding_cache_bytes,
    )
    names = {tensor.name for tensor in reader.tensors}
    by_token = {"token_embd.weight"} if "output.weight" in names else set()
    if architecture in ("gemma3n", "gemma4"):
        by_token.add("per_layer_token_embd.weight")
    experts = _field(reader, f"{architecture}.expert_count")
    classes: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    layers: dict[int, list[tuple[str, int]]] = defaultdict(list)
    streamed_layers = set()
    for tensor in reader.tensors:
        name = tensor.name
        block = _BLOCK.match(name)
        layer = int(block[1]) if block else -1
        role, tier = pb.TENSOR_ROLE_OTHER, pb.TIER_RAM
        if mode == pb.MODE_EXPERT_STREAMING:
            if _EXPERT.match(name):
                role, tier = pb.TENSOR_ROLE_ROUTED_EXPERT, pb.TIER_NVME
                layers[layer].append((name.split(".", 2)[2], int(tensor.n_bytes)))
            elif _VECTOR.match(name):
                role = pb.TENSOR_ROLE_EXPERT_VECTOR
                layers[layer].append((name.split(".", 2)[2], int(tensor.n_bytes)))
        elif mode == pb.MODE_DENSE_STREAMING and layer >= 0 and layer not in pinned and not kept(name):
            ffn = "ffn_" in name and not name.endswith(("norm.weight", "gate_inp.weight"))
            matrix = _MATRIX.match(name) and "norm" not in name and len(tensor.shape) >= 2
            if (everything and matrix) or (not everything and ffn and matrix):
                role, tier = pb.TENSOR_ROLE_DENSE_FFN, pb.TIER_NVME
                streamed_layers.add(layer)
        if embedding_cache_bytes and name in by_token:
            role, tier = pb.TENSOR_ROLE_EMBEDDING, pb.TIER_NVME
        size = int(tensor.n_bytes)
        plan.model_bytes += size
        if tier == pb.TIER_NVME:
            plan.streamed_bytes += size
        else:
            plan.resident_bytes += size
        plan.tensors.append(
            pb.TensorPlacement(
                name=name,
                type=tensor.tensor_type.name,
                shape=[int(n) for n in tensor.shape],
                role=role,
                layer=layer,
                tier=tier,
                extent=pb.Extent(file=0, offset_bytes=int(tensor.data_offset), length_bytes=size),
            )
        )
    if mode == pb.MODE_EXPERT_STREAMING:
        for layer, parts in layers.items():
            classes[tuple(sorted(parts))].append(layer)
        plan.experts.experts_per_layer = experts
        plan.experts.experts_per_token = _field(reader, f"{architecture}.expert_used_count")
        for members in classes.values():
            plan.experts.groups.append(_group(members, slots, experts * len(members)))
    if mode == pb.MODE_DENSE_STREAMING:
        plan.dense.streamed_layers.extend(sorted(streamed_layers))
        plan.dense.pinned_layers.extend(pinned)
        plan.dense.ring_depth = ring_depth
        plan.dense.max_kept_bytes = max_kept_bytes
    return plan


def _group(layers: list[int], slots: int | None, all_experts: int) -> pb.ExpertGroup:
    return pb.ExpertGroup(layers=layers, slots=slots or all_experts, max_slots=slots or all_experts)
