"""When /api/ps says that a model leaves."""

from __future__ import annotations

import math
import time

import pytest

from hypura_daemon.gateway.ollama.listing import unloads_at_seconds
from hypura_daemon.residency.state import ModelSnapshot, ModelState


def snapshot(state: ModelState, running: int, keeps: float, expires: float | None, pinned: bool) -> ModelSnapshot:
    return ModelSnapshot("m", state, 1, None, None, "", 1.0, 0.0, pinned, running, 0, None, expires, keeps)


@pytest.mark.parametrize(
    ("state", "running", "keeps", "expires", "pinned", "stays"),
    [
        (ModelState.READY, 1, 300.0, None, False, 300.0),  # It is used: as if its request ended now.
        (ModelState.READY, 1, -1.0, None, False, math.inf),
        (ModelState.READY, 1, 1e300, None, False, math.inf),
        (ModelState.READY, 1, 300.0, None, True, math.inf),
        (ModelState.READY, 0, 1e300, None, False, math.inf),
        (ModelState.UNLOADING, 0, 0.0, None, False, 0.0),  # Not for ever, as the last request had asked.
    ],
)
def test_when_a_model_leaves(
    state: ModelState, running: int, keeps: float, expires: float | None, pinned: bool, stays: float
) -> None:
    now = time.time()
    leaves = unloads_at_seconds(snapshot(state, running, keeps, expires, pinned))
    assert leaves == stays if stays == math.inf else abs(leaves - now - stays) < 5


def test_an_idle_model_leaves_when_the_supervisor_says() -> None:
    assert unloads_at_seconds(snapshot(ModelState.READY, 0, 300.0, 123.0, False)) == 123.0
