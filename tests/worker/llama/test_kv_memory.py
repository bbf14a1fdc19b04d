"""Memory of the KV cache that nothing has filled yet is lent to slots or the ring, and taken back in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.v1 import placement_pb2 as pb
from hypura_worker.llama.context import BatchToken
from hypura_worker.llama.kv_memory import KvMemory, Loan
from hypura_worker.loaded_model import LlamaModel
from tests.worker.plans import make_plan

CONTEXT, UBATCH = 2048, 8
TOKENS = [int(token) for token in np.random.default_rng(3).integers(3, 100, 800)]


def stream(moe_model: Path, dense_model: Path, mode: str, unfused: bool) -> pb.Plan:
    if mode == "experts":
        return make_plan(
            moe_model,
            pb.MODE_EXPERT_STREAMING,
            slots=64,
            context_tokens=CONTEXT,
            ubatch_tokens=UBATCH,
            unfused_attention=unfused,
        )
    return make_plan(
        dense_model,
        pb.MODE_DENSE_STREAMING,
        everything=True,
        max_kept_bytes=1 << 40,
        context_tokens=CONTEXT,
        ubatch_tokens=UBATCH,
        unfused_attention=unfused,
    )


def run(model: LlamaModel, width: int) -> tuple[npt.NDArray[np.float32], list[int]]:
    """The last tokens' logits, and the bytes of slots or ring after every pass."""
    rows, places, position = [], [], 0
    while position < len(TOKENS):
        count = min(width, len(TOKENS) - 8 - position) if position < len(TOKENS) - 8 else 1
        last = position + count - 1
        model.ready().decode([BatchToken(TOKENS[at], at, 0, at == last) for at in range(position, last + 1)])
        if last >= len(TOKENS) - 9:
            rows.append(model.ready().logits(count - 1).copy())
        if model.streamer is not None and model._loan is not None:
            places.append(model.streamer.place_bytes)
            cache = model._loan._memory
            assert places[-1] + cache.resident_bytes() <= model._cache_bytes + cache.size_bytes, "no byte is used twice"
        position += count
    return np.stack(rows), places


@pytest.mark.parametrize("unfused", [False, True])
@pytest.mark.parametrize("mode", ["experts", "layers"])
def test_what_is_not_filled_yet_is_lent_and_logits_stay_the_same(
    moe_model: Path, dense_model: Path, mode: str, unfused: bool
) -> None:
    """A context of 32k tokens takes 3.2 GB of Qwen3-30B-A3B's memory, of which most conversations fill a tenth."""
    plan = stream(moe_model, dense_model, mode, unfused)
    plan.memory_limit_bytes = 64 << 30
    model = LlamaModel(plan)
    try:
        streamer = model.streamer
        assert streamer is not None
        model.resize(model.memory_limits[0])
        before, width = streamer.place_bytes, model.pass_tokens
        got, places = run(model, width)
        assert model.pass_tokens == width, "passes are as long as they can be when the context is full"
        assert places == sorted(places, reverse=True), "nothing is lent twice"
        assert len(set(places)) >= (2 if unfused else 3), "it is taken back in steps"
        assert before > places[-1] >= streamer.least_bytes
    finally:
        model.close()
    path = moe_model if mode == "experts" else dense_model
    resident = LlamaModel(
        make_plan(path, pb.MODE_RESIDENT, context_tokens=CONTEXT, ubatch_tokens=UBATCH, unfused_attention=unfused)
    )
    try:
        assert np.array_equal(got, run(resident, width)[0])
    finally:
        resident.close()


class Cache(KvMemory):
    """A cache of 10 000 tokens of 100 bytes, filled as the test says."""

    filled_bytes = 0
    token_bytes = 100
    size_bytes = 1_000_000

    def __init__(self) -> None:
        """Without a hook."""

    def resident_bytes(self) -> int:
        return self.filled_bytes


@given(st.lists(st.tuples(st.integers(1, 600), st.booleans())), st.sampled_from([0, 256]))
def test_what_passes_fill_is_never_lent(passes: list[tuple[int, bool]], touched: int) -> None:
    """new: the pass's tokens fill memory of their own; else they take the place of forgotten ones."""
    cache = Cache()
    loan, most = Loan(cache, touched), 0
    for tokens, new in passes:
        before = loan.lent_bytes
        assert loan.make_room(tokens) == (loan.lent_bytes < before)
        after = min(cache.size_bytes, cache.filled_bytes + 100 * tokens)
        assert min(cache.size_bytes, after + 100 * touched) <= cache.size_bytes - loan.lent_bytes
        if new:
            cache.filled_bytes = after
        most = max(most, after)
        assert cache.size_bytes - loan.lent_bytes <= most + (128 + touched) * 100, "little of it lies idle"


@pytest.mark.parametrize("unfused", [False, True])
def test_the_cache_is_found_and_its_pages_are_counted(dense_model: Path, unfused: bool) -> None:
    """Of an unfused attention's cache only K lies token by token."""
    plan = make_plan(
        dense_model, pb.MODE_DENSE_STREAMING, context_tokens=CONTEXT, ubatch_tokens=256, unfused_attention=unfused
    )
    model = LlamaModel(plan)
    try:
        streamer: Any = model.streamer
        memory = KvMemory()
        streamer.learning = memory.handle
        with pytest.raises(Exception, match="aborted"):
            model.ready().decode([BatchToken(5, 0, 0, True)])
        streamer.learning = None
        model.ready().cut(0, 0)
        assert memory.size_bytes == CONTEXT * memory.token_bytes > 0
        assert len(memory._tensors) == (1 if unfused else 2) * sum("attn_k.weight" in t.name for t in plan.tensors)
        assert memory.release() and memory.resident_bytes() == 0
        model.ready().decode([BatchToken(token, at, 0, False) for at, token in enumerate(TOKENS[:256])])
        filled = memory.resident_bytes()
        assert 0 < filled <= memory.size_bytes // 2
        model.ready().cut(0, 0)
        model.ready().decode([BatchToken(token, at, 0, False) for at, token in enumerate(TOKENS[:256])])
        assert memory.resident_bytes() == filled, "the same places are filled again"
    finally:
        model.close()


class Unknown(KvMemory):
    """A cache of which the system reports only once what is filled."""

    def __init__(self) -> None:
        self.calls = 0

    @property
    def token_bytes(self) -> int:
        return 4096

    @property
    def size_bytes(self) -> int:
        return 4096 * 1000

    def resident_bytes(self) -> int:
        self.calls += 1
        if self.calls > 1:
            raise OSError("the system does not report which pages are in memory (mincore)")
        return 0


def test_a_cache_that_cannot_be_measured_counts_as_full() -> None:
    """Seen: the error broke the engine."""
    loan = Loan(Unknown())
    assert loan.lent_bytes > 0
    assert loan.make_room(500) and loan.lent_bytes == 0
    assert not loan.make_room(500)
