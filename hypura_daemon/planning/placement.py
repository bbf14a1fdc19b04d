"""Where the tensors go that are not streamed: to the GPU by llama.cpp's own offload, to memory, or to the drive.

On the drive stay embedding tensors of a model that streams: a pass needs only the rows of its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import Model, ModelTensor
from hypura_daemon.planning.inputs import PlanInputs
from hypura_daemon.planning.plan import MemoryItem, MemoryKind, Tier

_GPU_SHARE = 0.9
"""The rest is left to the driver and other programs."""
_PAGE_BYTES = 4096
_CACHE_BYTES = 16 << 20
"""Rows of one to four thousand tokens, more than most texts have distinct ones."""
_PASSES = 2
"""There is room for the rows of so many passes of distinct tokens, however wide the rows are."""
_PER_LAYER = dict.fromkeys(("gemma3n", "gemma4"), "per_layer_token_embd.weight")
"""Architectures with embeddings per layer that are gathered by token too; qwen4exp uses hashes of several tokens."""
_WORTH = 3
"""A tensor is read by rows only if it is this many times larger than the room for its rows."""


def offload(inputs: PlanInputs, ubatch: int, streamed: frozenset[str]) -> tuple[int, int]:
    """The number of layers for the GPU, and the bytes of weights that this moves out of the worker's memory.

    With unified memory nothing moves out. With `exact` nothing is offloaded: a GPU's low bits differ.
    """
    model, gpus = inputs.model, inputs.hardware.gpus
    count = model.hyperparameters.block_count + 1  # the output counts as a layer
    if not gpus or inputs.request.exact or any(name.endswith("_exps.scale") for name in streamed):
        # An expert scale is copied to the GPU before the hook puts the scales into slot order
        # (seen on CUDA: the guard stops such a pass).
        return 0, 0
    if inputs.hardware.unified_memory:
        return count, 0
    buffers = inputs.compute_bytes(ubatch)
    free = int(sum(gpu.free_bytes for gpu in gpus) * _GPU_SHARE) - buffers
    by_layer = [0] * count
    for tensor in model.tensors:
        if tensor.name not in streamed and tensor.role is not Role.EMBEDDING:
            by_layer[tensor.layer if tensor.layer >= 0 else count - 1] += tensor.size_bytes
    kv = inputs.kv_bytes(ubatch) // max(model.hyperparameters.computed_block_count, 1)
    layers = on_gpu = 0
    for size in reversed(by_layer):  # llama.cpp offloads the last layers first
        if free < size + kv:
            break
        free -= size + kv
        on_gpu += size
        layers += 1
    return layers, on_gpu


def resident_tier(tensor: ModelTensor, gpu_layers: int, model: Model) -> Tier:
    """The tier of a tensor that is not streamed."""
    count = model.hyperparameters.block_count + 1
    layer = tensor.layer if tensor.layer >= 0 else count - 1
    on_gpu = tensor.role is not Role.EMBEDDING and layer >= count - gpu_layers
    return Tier.GPU if on_gpu else Tier.RAM


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Tensors that are read by rows. saved_bytes: their size; cache_bytes: the room for their rows."""

    names: frozenset[str]
    saved_bytes: int
    cache_bytes: int

    @property
    def items(self) -> list[MemoryItem]:
        """The memory for the rows, and 4 bytes for each page of the tensors."""
        if not self.names:
            return []
        return [MemoryItem(MemoryKind.EMBEDDING_ROWS, self.cache_bytes + self.saved_bytes // _PAGE_BYTES * 4)]


def by_row(tensors: Sequence[ModelTensor], architecture: str, ubatch_tokens: int) -> Embeddings:
    """The tensors that are read by rows. Token embeddings that are also the output head are needed whole."""
    names = {_PER_LAYER.get(architecture, "")}
    if any(tensor.name == "output.weight" for tensor in tensors):
        names.add("token_embd.weight")
    chosen, cache = [], 0
    for tensor in tensors:
        if tensor.name in names:
            row = tensor.size_bytes // max(tensor.shape[1], 1) + 2 * _PAGE_BYTES
            room = max(_CACHE_BYTES, _PASSES * ubatch_tokens * row)
            if tensor.size_bytes >= _WORTH * room:
                chosen.append(tensor)
                cache += room
    return Embeddings(frozenset(t.name for t in chosen), sum(t.size_bytes for t in chosen), cache)
