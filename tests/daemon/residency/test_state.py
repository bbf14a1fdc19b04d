"""One model's state: its table of transitions, and that no code outside of state.py and lease.py changes its fields.

The second is checked in the residency package, and in every file of hypura_daemon that imports from it.
"""

from __future__ import annotations

import ast
import asyncio
import math
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import hypura_daemon
from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, WorkerDied
from hypura_daemon.planning.plan import LoadRequest
from hypura_daemon.residency import state
from hypura_daemon.residency.lease import AS_IT_IS, Waiter
from hypura_daemon.residency.state import TRANSITIONS, ModelState, PendingLoad, SupervisedModel
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from tests.daemon.residency.harness import make_plan

ROOT = Path(hypura_daemon.__file__).parent
FIELDS = {field.name for kind in (SupervisedModel, PendingLoad, Waiter) for field in fields(kind)}
FILES = sorted(
    file
    for file in ROOT.rglob("*.py")
    if file.parent.name == "residency" or "hypura_daemon.residency" in file.read_text("utf-8")
)
PRIVATE = {name for name in FIELDS if name.startswith("_")}
STATES = [(before, after) for before in ModelState for after in ModelState]


def in_state(before: ModelState) -> SupervisedModel:
    return SupervisedModel("m", 300.0, state=before)


@pytest.mark.parametrize(("before", "after"), STATES)
def test_only_the_transitions_of_the_table_are_possible(before: ModelState, after: ModelState) -> None:
    model = in_state(before)
    if after in TRANSITIONS[before]:
        model._enter(after)
        assert model.state is after
    else:
        with pytest.raises(RuntimeError, match=f"cannot go from {before.value} to {after.value}"):
            model._enter(after)
        assert model.state is before


def test_the_docstring_has_the_transitions() -> None:
    """Those to UNLOADED after a cancelled task stand in the sentence below the table."""
    assert state.__doc__ is not None
    for before, after in TRANSITIONS.items():
        [row] = re.findall(rf"^{before.name} .*$", state.__doc__, re.MULTILINE)
        named = {ModelState[name] for name in re.findall(r"([A-Z]{4,}) \(", row)}
        assert named == after - ({ModelState.UNLOADED} if before in (ModelState.LOADING, ModelState.READY) else set())


def assignments(file: Path) -> Iterator[tuple[int, str]]:
    """The line and the field of every `something.field = …` where something is not self, and uses of private fields."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            changed = isinstance(node.ctx, ast.Store | ast.Del) and node.attr in FIELDS
            if changed or node.attr in PRIVATE:
                yield node.lineno, node.attr


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_its_own_methods_change_a_model(file: Path) -> None:
    found = [f"{file.name}:{line} changes {name}" for line, name in assignments(file)]
    assert not found, f"{found}; make it a method of the class in state.py or lease.py"


def test_the_check_finds_a_change(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text(
        "model.state = 1\nmodel.leases += 1\nmodel._waiters.append(2)\na, model.plan = 3, 4\nself.plan = 5\n"
    )
    assert {line for line, _ in assignments(file)} == {1, 2, 3, 4}
    assert {"state", "leases", "plan", "_waiters", "awaited_bytes", "use"} <= FIELDS


async def never() -> HypuraError:
    await asyncio.Event().wait()
    raise AssertionError


async def loading(memory_limit_bytes: int = 8, *, pinned: bool = False) -> SupervisedModel:
    model = SupervisedModel("m", 300.0, pinned=pinned)
    pending = model.set_pending_load(LoadRequest(memory_limit_bytes=memory_limit_bytes), memory_limit_bytes)
    pending.use_plan(make_plan("m", memory_limit_bytes))
    model.start_loading(generation=1)
    model.set_worker_task(asyncio.ensure_future(never()))
    return model


async def ready() -> SupervisedModel:
    model = await loading()
    model.finish_loading(worker_pb2.LoadedModel(min_memory_limit_bytes=2, max_memory_limit_bytes=30), now_seconds=5.0)
    return model


def waiter() -> Waiter:
    granted = asyncio.get_running_loop().create_future()
    return Waiter(None, False, AS_IT_IS, False, lambda event: None, granted, since_seconds=0.0)


async def test_a_load_takes_the_options_and_the_limit_of_its_plan() -> None:
    model = await loading(8)
    assert (model.state, model.memory_limit_bytes, model.pending) == (ModelState.LOADING, 8, None)
    holder = model.holder()
    assert holder is not None and (holder.memory_limit_bytes, holder.kept) == (8, "loading")


async def test_a_load_that_is_unloaded_meanwhile_does_not_become_ready() -> None:
    model = await loading()
    assert model.start_unloading() and not model.start_unloading()
    model.finish_loading(worker_pb2.LoadedModel(), now_seconds=5.0)
    assert model.state is ModelState.UNLOADING
    model.finish_unloading()
    assert (model.state, model.holder(), model.worker_task) == (ModelState.UNLOADED, None, None)


async def test_when_memory_ran_out_the_load_is_tried_once_more_with_less() -> None:
    model, waiting = await loading(8, pinned=True), waiter()
    model.add_waiter(waiting)
    model.fail(WorkerDied("killed", out_of_memory=True), now_seconds=5.0)
    assert (model.reduced_memory_limit_bytes, model.restart_at_seconds) == (6, 5.0)
    assert not waiting.granted.done(), "it waits for the second attempt"
    pending = model.set_pending_load(model.request, 6)
    pending.use_plan(make_plan("m", 6))
    model.start_loading(generation=2)
    model.set_worker_task(asyncio.ensure_future(never()))
    model.fail(WorkerDied("killed", out_of_memory=True), now_seconds=6.0)
    assert isinstance(waiting.granted.exception(), WorkerDied)


async def test_a_worker_that_does_not_keep_to_its_new_limit_is_not_resized_again() -> None:
    model = await ready()
    holder = model.holder()
    assert holder is not None and (holder.giveable_bytes, holder.usable_bytes) == (6, 0), "the request has a limit of 8"
    model.start_resizing(4)
    holder = model.holder()
    assert holder is not None and (holder.memory_limit_bytes, holder.giveable_bytes) == (8, 0)
    assert not model.finish_resizing(5)
    holder = model.holder()
    assert holder is not None and (holder.memory_limit_bytes, holder.giveable_bytes) == (5, 0)


async def test_a_lease_of_an_earlier_worker_does_not_count(tmp_path: Path) -> None:
    model, waiting = await ready(), waiter()
    model.set_worker(WorkerProcess("m", tmp_path, WorkerDeadlines(1, 1, 1, 1)))
    model.add_waiter(waiting)
    model.grant(waiting)
    assert (model.leases, model.waiters, model.expires_seconds) == (1, (), math.inf)
    model.release(generation=7, now_seconds=9.0)
    assert model.leases == 1
    model.release(waiting.granted.result().generation, now_seconds=9.0)
    assert (model.leases, model.expires_seconds) == (0, 309.0)
