"""The engine's queue: how many may wait, and what its counters say when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.engine import loop
from hypura_worker.engine.request import EmbedRequest
from hypura_worker.errors import EngineBroken, ServerBusy
from hypura_worker.loaded_model import LlamaModel
from tests.worker.conftest import Running
from tests.worker.plans import make_plan


@pytest.fixture
def waiting(moe_model: Path) -> Iterator[Running]:
    """An engine whose thread is not started: requests stay where they are until the test takes a step."""
    model = LlamaModel(make_plan(moe_model, pb.MODE_RESIDENT, sequences=1))
    try:
        yield Running(model, loop.Engine(model, lambda error: None), [])
    finally:
        model.close()


def test_a_request_too_many_is_refused(waiting: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the inbox and those that wait for a sequence count together."""
    monkeypatch.setattr(loop, "_QUEUE_LIMIT", 3)
    answers: list[object] = []
    waiting.engine.submit(EmbedRequest([[1]], answers.append))
    waiting.engine._receive()
    for _ in range(2):
        waiting.engine.submit(EmbedRequest([[1]], answers.append))
    with pytest.raises(ServerBusy, match="3 requests wait already"):
        waiting.engine.submit(EmbedRequest([[1]], answers.append))
    assert not answers


def test_an_engine_that_has_ended_counts_no_request_as_waiting(waiting: Running) -> None:
    """Its statistics can still be asked for until the process ends."""
    _, first = waiting.ask([1, 2, 3])
    _, second = waiting.ask([4, 5, 6])
    waiting.engine._receive()
    waiting.engine._runner.step()
    counters = waiting.engine.counters
    assert (counters.active, counters.queued) == (1, 1)
    waiting.engine._fail_all(EngineBroken("the worker is ending"))
    assert (counters.active, counters.queued) == (0, 0)
    for answer in (first, second):
        with pytest.raises(EngineBroken, match="is ending"):
            answer.wait()
