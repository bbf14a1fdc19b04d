"""Forward passes of a planned model, for comparing logits bit for bit."""

from __future__ import annotations

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt

from hypura.v1 import placement_pb2 as pb
from hypura_worker.llama.context import BatchToken
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.experts import ExpertStreamer


def all_logits(
    plan: pb.Plan, tokens: list[int], decode_from: int, late_milliseconds: int = 0
) -> npt.NDArray[np.float32]:
    """[outputs, vocabulary]: the prompt in ubatches, then each token from decode_from on by itself.

    late_milliseconds: every read takes so much longer, so that products of experts are computed row by row.
    """
    model = LlamaModel(plan)
    try:
        model.slow_drive(late_milliseconds)
        context = model.ready()
        rows = []
        position = prompt_misses = 0
        while position < len(tokens):
            count = min(plan.ubatch_tokens, decode_from - position) if position < decode_from else 1
            batch = [BatchToken(tokens[position + i], position + i, 0, i == count - 1) for i in range(count)]
            context.decode(batch)
            rows.append(context.logits(count - 1).copy())
            position += count
            if position == decode_from and isinstance(model.streamer, ExpertStreamer):
                prompt_misses = model.streamer.counters().misses
        if late_milliseconds and isinstance(model.streamer, ExpertStreamer):
            missed = model.streamer.counters().misses > prompt_misses
            assert model.streamer.rows_apart > 0 or not missed, "late experts, and no product computed row by row"
        return np.stack(rows)
    finally:
        model.close()
