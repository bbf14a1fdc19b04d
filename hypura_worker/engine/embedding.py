"""Vectors of texts, computed in one sequence of the context."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hypura_worker.llama.context import BatchToken, Context, Pooling


def embed(
    context: Context,
    text: list[int],
    sequence: int,
    ubatch_tokens: int,
    forward: Callable[[Sequence[BatchToken]], None],
) -> list[float]:
    """The vector [embedding_length] of a tokenized text, pooled as the context says over all of it.

    The sequence must be empty, and is empty again afterwards. forward computes a batch; its
    errors are raised. Where the context is `whole`, the text must fit one ubatch.
    """
    if context.pooling is Pooling.FIRST and not context.whole:
        text = text[:1]  # later tokens cannot change it
    # With embeddings on every token is an output; where only that of the last is needed, it is computed by itself.
    alone = context.pooling is not Pooling.MEAN and not context.whole
    plain = len(text) - 1 if alone else 0
    total = np.zeros(context.embedding_length, np.float64)
    try:
        context.want_embeddings(False)
        for batch in _batches(text, sequence, 0, plain, ubatch_tokens):
            forward(batch)
        context.want_embeddings(True)
        for batch in _batches(text, sequence, plain, len(text), len(text) if context.whole else ubatch_tokens):
            forward(batch)
            match context.pooling:
                case Pooling.MEAN:
                    for index in range(len(batch)):
                        total += context.embedding(index)
                case Pooling.FIRST:
                    total += context.embedding(0)
                case Pooling.LAST:
                    total += context.embedding(len(batch) - 1)
        pooled = total / len(text) if context.pooling is Pooling.MEAN else total
        return [float(value) for value in pooled.astype(np.float32)]
    finally:
        context.cut(sequence, 0)
        context.want_embeddings(not context.generates)


def _batches(text: Sequence[int], sequence: int, start: int, end: int, most_tokens: int) -> Iterator[list[BatchToken]]:
    """The tokens from start to end, at most so many in a batch; outputs only in those that reach the text's end."""
    for first in range(start, end, most_tokens):
        last = min(end, first + most_tokens)
        yield [BatchToken(text[i], i, sequence, end == len(text)) for i in range(first, last)]


def normalize(vector: list[float]) -> list[float]:
    """The vector scaled to length 1; a zero vector stays."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
