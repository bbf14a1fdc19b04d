"""Vectors of texts, computed in one sequence of the context."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hypura_worker.llama.context import BatchToken, Context


def embed(
    context: Context,
    text: list[int],
    sequence: int,
    ubatch_tokens: int,
    forward: Callable[[Sequence[BatchToken]], None],
) -> list[float]:
    """The vector [embedding_length] of a tokenized text: pooled as the model says, else of its last token.

    The sequence must be empty, and is again afterwards. forward computes a batch, and its
    errors come through. A pooling model's text must fit one ubatch.
    """
    try:
        # With embeddings on every token is an output, so without pooling only the last is computed so.
        computed = 0 if context.pools else len(text) - 1
        context.want_embeddings(False)
        for start in range(0, computed, ubatch_tokens):
            chunk = text[start : min(computed, start + ubatch_tokens)]
            forward([BatchToken(t, start + i, sequence, False) for i, t in enumerate(chunk)])
        context.want_embeddings(True)
        rest = text[computed:]
        forward([BatchToken(t, computed + i, sequence, True) for i, t in enumerate(rest)])
        return context.embedding(len(rest) - 1, sequence)
    finally:
        context.cut(sequence, 0)
        context.want_embeddings(context.pools or not context.generates)


def normalized(vector: list[float]) -> list[float]:
    """The vector at length 1; a zero vector stays."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
