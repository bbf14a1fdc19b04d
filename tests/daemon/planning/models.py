"""Models to plan for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypura_daemon.models.gguf.tensor_roles import layer_of, role_of
from hypura_daemon.models.model import Model, ModelFile, ModelTensor
from tests.models.shapes import shape_named
from tests.models.tensors import tensors_of


class Models(dict[str, Model]):
    """Models by name, with a short name for hypothesis's reports."""

    def __repr__(self) -> str:
        return f"models {sorted(self)}"


def shaped(name: str, like: Model) -> Model:
    """A model of a real shape without its bytes: metadata of `like` with the shape's numbers."""
    shape = shape_named(name)
    offset, tensors = 4096, []
    for t in tensors_of(shape, "mixed"):
        _, block_values, block_bytes = t.type.value
        size = t.values // block_values * block_bytes
        tensors.append(
            ModelTensor(t.name, t.type.name, t.dimensions, role_of(t.name), layer_of(t.name), 0, offset, size)
        )
        offset += size
    hyper = replace(
        like.hyperparameters,
        block_count=shape.layers,
        context_length=shape.context_tokens,
        embedding_length=shape.embedding,
        feed_forward_length=shape.feed_forward,
        head_count=(shape.heads,) * shape.layers,
        head_count_kv=(shape.kv_heads,) * shape.layers,
        key_length=shape.head,
        value_length=shape.head,
        expert_count=shape.experts,
        expert_used_count=shape.experts_used,
        expert_feed_forward_length=shape.feed_forward if shape.experts else 0,
        vocabulary_tokens=shape.vocabulary,
        recurrent_layers=(False,) * shape.layers,
        sliding_window_layers=(False,) * shape.layers,
    )
    files = (ModelFile(Path("/m.gguf"), offset, 1, 1),)
    return replace(
        like, name=name, architecture=shape.architecture, files=files, tensors=tuple(tensors), hyperparameters=hyper
    )
