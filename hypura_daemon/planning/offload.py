"""What goes to the GPU by llama.cpp's own offload."""

from __future__ import annotations

from hypura_daemon.models.model import Model, ModelTensor
from hypura_daemon.models.tensors import Role
from hypura_daemon.planning.frame import Frame
from hypura_daemon.planning.types import Tier

_GPU_SHARE = 0.9
"""The driver and other programs keep the rest."""


def offload(frame: Frame, ubatch: int, streamed: frozenset[str]) -> tuple[int, int]:
    """Layers for the GPU, and the bytes of weights that leave this process's memory thereby.

    On unified memory nothing leaves it. With `exact` nothing is offloaded: a GPU's low bits differ.
    """
    model, gpus = frame.model, frame.hardware.gpus
    count = model.hyperparameters.block_count + 1  # the output counts as a layer
    if not gpus or frame.request.exact or any(name.endswith("_exps.scale") for name in streamed):
        # An expert scale is copied to the GPU before the hook puts the scales into slot order
        # (seen on CUDA: the guard stops such a pass).
        return 0, 0
    if frame.hardware.unified_memory:
        return count, 0
    buffers = frame.compute_bytes(ubatch)
    free = int(sum(gpu.free_bytes for gpu in gpus) * _GPU_SHARE) - buffers
    by_layer = [0] * count
    for tensor in model.tensors:
        if tensor.name not in streamed and tensor.role is not Role.EMBEDDING:
            by_layer[tensor.layer if tensor.layer >= 0 else count - 1] += tensor.size_bytes
    kv = frame.kv_bytes(ubatch) // max(model.hyperparameters.computed_block_count, 1)
    layers = on_gpu = 0
    for size in reversed(by_layer):  # llama.cpp offloads the last layers first
        if free < size + kv:
            break
        free -= size + kv
        on_gpu += size
        layers += 1
    return layers, on_gpu


def resident_tier(tensor: ModelTensor, gpu_layers: int, model: Model) -> Tier:
    count = model.hyperparameters.block_count + 1
    layer = tensor.layer if tensor.layer >= 0 else count - 1
    on_gpu = tensor.role is not Role.EMBEDDING and layer >= count - gpu_layers
    return Tier.GPU if on_gpu else Tier.RAM
