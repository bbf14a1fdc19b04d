"""Embedding tensors that stay on the drive when a model streams: of them, a pass needs only the rows of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.models.model import ModelTensor
from hypura_daemon.planning.types import MemoryItem

_PAGE_BYTES = 4096
_CACHE_BYTES = 16 << 20
"""Rows of one to four thousand tokens, more than the distinct ones of most texts."""
_PASSES = 2
"""Rows of so many passes of distinct tokens have room, however wide they are."""
_PER_LAYER = dict.fromkeys(("gemma3n", "gemma4"), "per_layer_token_embd.weight")
"""Where embeddings per layer are gathered by token too; qwen4exp does it by hashes of several tokens."""
_WORTH = 3
"""Only a tensor this many times larger than the room for its rows is read by rows."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """names: the tensors, of saved_bytes together; cache_bytes: room for their rows instead."""

    names: frozenset[str]
    saved_bytes: int
    cache_bytes: int

    @property
    def items(self) -> list[MemoryItem]:
        """The rows, and a word for each page of the tensors."""
        if not self.names:
            return []
        return [MemoryItem("embedding rows", self.cache_bytes + self.saved_bytes // _PAGE_BYTES * 4)]


def by_row(tensors: Sequence[ModelTensor], architecture: str, ubatch_tokens: int) -> Embeddings:
    """Which tensors are read by row. Token embeddings that are the output head too are needed whole."""
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
