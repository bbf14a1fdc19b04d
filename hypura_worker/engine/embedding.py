"""Vectors of texts, computed in one sequence of the context."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypura_worker.errors import RequestError
from hypura_worker.llama.context import BatchToken, Context


def embed(context: Context, texts: Sequence[list[int]], sequence: int, ubatch_tokens: int) -> list[list[float]]:
    """A vector [embedding_length] per tokenized text: pooled as the model says, else of its last token.

    The sequence must be empty, and is again afterwards. Raises RequestError for a text that a
    pooling model cannot take in one pass, and what Context.decode raises.
    """
    vectors = []
    try:
        for text in texts:
            if context.pools and len(text) > ubatch_tokens:
                raise RequestError(f"the text has {len(text)} tokens, and this model pools at most {ubatch_tokens}")
            # With embeddings on every token is an output, so without pooling only the last is computed so.
            computed = 0 if context.pools else len(text) - 1
            context.want_embeddings(False)
            for start in range(0, computed, ubatch_tokens):
                chunk = text[start : min(computed, start + ubatch_tokens)]
                context.decode([BatchToken(t, start + i, sequence, False) for i, t in enumerate(chunk)])
            context.want_embeddings(True)
            rest = text[computed:]
            context.decode([BatchToken(t, computed + i, sequence, True) for i, t in enumerate(rest)])
            vectors.append(context.embedding(len(rest) - 1, sequence).tolist())
            context.cut(sequence, 0)
    finally:
        context.cut(sequence, 0)
        context.want_embeddings(context.pools or not context.generates)
    return vectors


def normalized(vector: list[float]) -> list[float]:
    """The vector at length 1; a zero vector stays."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
