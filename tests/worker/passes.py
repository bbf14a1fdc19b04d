"""Forward passes of a planned model, for comparing logits bit for bit."""

from __future__ import annotations

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2 as pb
from hypura_worker.llama.context import BatchToken
from hypura_worker.model import LlamaModel


def all_logits(plan: pb.Plan, tokens: list[int], decode_from: int) -> npt.NDArray[np.float32]:
    """[outputs, vocabulary]: the prompt in ubatches, then each token from decode_from on by itself."""
    model = LlamaModel(plan)
    try:
        context = model.ready()
        rows = []
        position = 0
        while position < len(tokens):
            count = min(plan.ubatch_tokens, decode_from - position) if position < decode_from else 1
            batch = [BatchToken(tokens[position + i], position + i, 0, i == count - 1) for i in range(count)]
            context.decode(batch)
            rows.append(context.logits(count - 1).copy())
            position += count
        return np.stack(rows)
    finally:
        model.close()
