"""One model's state: its table of transitions, and that no code outside of state.py and lease.py changes its fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import hypura_daemon
from hypura_daemon.residency import state
from hypura_daemon.residency.lease import Waiter
from hypura_daemon.residency.state import TRANSITIONS, ModelState, PendingLoad, SupervisedModel

ROOT = Path(hypura_daemon.__file__).parent
FIELDS = {field.name for kind in (SupervisedModel, PendingLoad, Waiter) for field in fields(kind)}
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


@pytest.mark.parametrize("file", sorted((ROOT / "residency").glob("*.py")), ids=lambda file: file.name)
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
