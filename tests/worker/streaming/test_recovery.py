"""After the drive recovers: prefetches that failed are read again, and no later pass gets their errors."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.errors import ReadFailed
from hypura_worker.llama.context import BatchToken
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.experts import ExpertStreamer
from tests.worker.conftest import Running, running
from tests.worker.plans import make_plan

PROMPT, TOKENS = [5, 9, 17, 33], 6
LATE_MILLISECONDS = 300
ALL = 1 << 40


@contextmanager
def failing_drive(model: LlamaModel) -> Iterator[None]:
    """Every read of the model's file fails (EBADF): its descriptor is open for writing alone. The file is the same."""
    assert model._files is not None
    (descriptor,) = model._files.descriptors
    saved, broken = os.dup(descriptor), os.open(model.plan.files[0].path, os.O_WRONLY)
    os.dup2(broken, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(broken)


def warm(streamer: ExpertStreamer, layer: int, expert: int) -> None:
    """Begin to read an expert while no request is waiting."""
    busy_ns = streamer._reader.figures().busy_ns
    layers, experts = np.array([layer], np.int32), np.array([expert], np.int32)
    state = ctypes.addressof(streamer._state)
    streamer._hook.hypura_experts_warm(state, layers.ctypes.data, experts.ctypes.data, 1)
    deadline = time.monotonic() + 30
    while streamer._reader.figures().busy_ns == busy_ns:  # a pass cancels what no thread has taken yet
        assert time.monotonic() < deadline


def fails(engine: Running, prompt: list[int]) -> None:
    _, answer = engine.ask(prompt, 1)
    with pytest.raises(ReadFailed, match="Bad file descriptor"):
        answer.wait()


@pytest.mark.parametrize("depth", [2, 6, 20])
@pytest.mark.parametrize("kept", [0, 2_000_000, ALL])
def test_layers(dense_model: Path, depth: int, kept: int) -> None:
    """Seen: the next two requests failed because of tensors that had been prefetched."""
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=depth, everything=True, max_kept_bytes=kept)
    plan.exact = False
    with running(make_plan(dense_model, pb.MODE_RESIDENT)) as resident:
        expected = resident.tokens(PROMPT, TOKENS)
    with running(plan) as engine:
        with failing_drive(engine.model):
            fails(engine, PROMPT)
        assert engine.tokens(PROMPT, TOKENS) == expected
        with failing_drive(engine.model):
            streamed_still = depth < 20 and kept < ALL
            if streamed_still:
                fails(engine, PROMPT)
        assert engine.tokens(PROMPT, TOKENS) == expected
        assert not engine.broken


def test_layers_in_the_middle_of_an_answer(dense_model: Path) -> None:
    """The drive fails between two passes, when the ring is full of what the next needs first."""
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, ring_depth=6, everything=True)
    model = LlamaModel(plan)
    try:
        context = model.ready()
        context.decode([BatchToken(t, i, 0, i == len(PROMPT) - 1) for i, t in enumerate(PROMPT)])
        right = context.logits(len(PROMPT) - 1).copy()
        with failing_drive(model), pytest.raises(ReadFailed):
            for position in range(len(PROMPT), 20):
                context.decode([BatchToken(7, position, 0, True)])
        context.cut(0, 0)
        context.decode([BatchToken(t, i, 0, i == len(PROMPT) - 1) for i, t in enumerate(PROMPT)])
        assert (context.logits(len(PROMPT) - 1) == right).all()
    finally:
        model.close()


def test_rows_of_embeddings(dense_model: Path) -> None:
    plan = make_plan(dense_model, pb.MODE_DENSE_STREAMING, embedding_cache_bytes=16 << 10, exact=False)
    with running(plan) as engine:
        expected = engine.tokens(PROMPT, TOKENS)
        with failing_drive(engine.model):
            for token in range(100, 112):
                fails(engine, [token])
        rows = engine.model._rows
        assert rows is not None
        held = rows.held_bytes
        assert engine.tokens(PROMPT, TOKENS) == expected
        assert rows.held_bytes >= held


def test_experts(moe_model: Path) -> None:
    with running(make_plan(moe_model, pb.MODE_RESIDENT)) as resident:
        expected = resident.tokens(PROMPT, TOKENS)
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=6, ubatch_tokens=2, exact=False)) as engine:
        assert engine.tokens(PROMPT, TOKENS) == expected
        with failing_drive(engine.model):
            for token in range(40, 52):
                fails(engine, [token, token + 1])
        assert engine.tokens(PROMPT, TOKENS) == expected


def test_experts_that_are_being_read_when_the_drive_recovers(moe_model: Path) -> None:
    """A prefetch that was begun while the drive failed, and whose error comes when a pass already waits for it."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=32, ubatch_tokens=4)
    resident = LlamaModel(make_plan(moe_model, pb.MODE_RESIDENT, ubatch_tokens=4))
    prompt = [BatchToken(t, i, 0, i == len(PROMPT) - 1) for i, t in enumerate(PROMPT)]
    resident.ready().decode(prompt)
    expected = resident.ready().logits(len(PROMPT) - 1).copy()
    resident.close()
    model = LlamaModel(plan)
    try:
        streamer = model.streamer
        assert isinstance(streamer, ExpertStreamer)
        model.ready().decode(prompt)
        model.ready().cut(0, 0)
        chosen = int(np.flatnonzero(streamer._layout.slot_of[0] >= 0)[0])
        (group,) = streamer._groups
        streamer._drop_from(group, 0)
        group.shared.usable = group.planned
        model.slow_drive(LATE_MILLISECONDS)
        failed: list[BaseException] = []

        def decode() -> None:
            try:
                model.ready().decode(prompt)
            except BaseException as error:
                failed.append(error)

        with failing_drive(model):
            warm(streamer, 0, chosen)
            thread = threading.Thread(target=decode)
            thread.start()
            deadline = time.monotonic() + 30
            while not any(part.error for slot in group.slots for part in slot.parts):
                assert time.monotonic() < deadline
        thread.join()
        assert not failed
        assert (model.ready().logits(len(PROMPT) - 1) == expected).all()
    finally:
        model.close()
