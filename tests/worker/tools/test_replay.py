"""Replacement policies and their replay, on traces small enough to be solved by hand or by trying everything."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura_worker.streaming.replacement import DEFAULT, POLICIES, make
from hypura_worker.streaming.replacement.policy import Policy, Shape
from hypura_worker.streaming.replacement.routing_trace import BadTrace, Routes, Visit, read_routes
from hypura_worker.tools.replay import belady, compare, hit_rate

HEAD = (
    "# route_trace v1\n# model=m arch=qwen3moe n_layer=2 n_expert=4 n_expert_used=1\n# layer=0 expert_bytes=1048576\n"
)


def routes(choices: list[list[int]], layers: int, experts: int, per_token: int = 1) -> Routes:
    """A decode of one token per len(layers) entries; choices[i] are of layer i % layers."""
    visits = tuple(Visit(True, i % layers, np.array([chosen])) for i, chosen in enumerate(choices))
    return Routes(layers, experts, per_token, 1 << 20, visits)


def best_by_trying(trace: Routes, slots: int) -> int:
    """The most hits that any sequence of evictions reaches, found by trying all."""
    states = {frozenset[tuple[int, int]](): 0}
    for visit in trace.visits:
        chosen = {(visit.layer, int(e)) for e in visit.experts.reshape(-1)}
        following: dict[frozenset[tuple[int, int]], int] = {}
        for held, hits in states.items():
            others = held - chosen
            reached = hits + len(held & chosen)
            for kept in itertools.combinations(sorted(others), min(len(others), slots - len(chosen))):
                state = frozenset(chosen | set(kept))
                following[state] = max(following.get(state, 0), reached)
        states = following
    return max(states.values())


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True), min_size=1, max_size=12),
    st.integers(2, 5),
)
def test_belady_is_the_best_that_any_policy_can_do(choices: list[list[int]], slots: int) -> None:
    """Keeps out a "best possible" that a policy could beat, or that none could reach."""
    trace = routes(choices, layers=2, experts=4, per_token=2)
    total = sum(visit.experts.size for visit in trace.visits)
    assert round(belady(trace, slots) * total) == best_by_trying(trace, slots)
    for name in POLICIES:
        rate = hit_rate(trace, slots, make(name, Shape(2, 4, 2, slots)))
        assert rate <= belady(trace, slots) + 1e-9, name


@pytest.mark.parametrize("name", POLICIES)
def test_victims_are_held_and_never_kept_ones(name: str) -> None:
    """Keeps out the eviction of an expert that the visit under way needs, or of one that is not there."""
    rng = np.random.default_rng(1)
    policy = make(name, Shape(3, 8, 2, 6))
    for turn in range(60):
        layer = turn % 3
        chosen = rng.choice(8, (1, 2), replace=False)
        policy.visit(layer, chosen, rng.random((1, 8), np.float32))
        keep = [(layer, int(expert)) for expert in chosen[0]]
        held = {(int(a), int(b)) for a, b in zip(*np.nonzero(policy.held), strict=True)}
        victims = policy.victims(layer, 3, keep)
        assert set(victims) <= held - set(keep) and len(set(victims)) == len(victims)
        assert len(victims) == min(3, len(held - set(keep)))
        here = policy.victims(layer, 8, keep, layers=[layer])
        assert {key[0] for key in here} <= {layer}
        for key in victims:
            policy.evicted(key)
        for key in keep:
            policy.admitted(key)


def cyclic(tokens: int, layers: int, per_token: int, experts: int) -> Routes:
    """Each layer's experts drawn from its own skewed, fixed distribution."""
    rng = np.random.default_rng(7)
    likely = rng.dirichlet(np.full(experts, 0.3), layers) + 1e-3
    likely /= likely.sum(axis=1, keepdims=True)
    choices = [
        rng.choice(experts, per_token, replace=False, p=likely[layer]).tolist()
        for _ in range(tokens)
        for layer in range(layers)
    ]
    return routes(choices, layers, experts, per_token)


@pytest.mark.parametrize("tokens_held", [0.6, 1.5, 4.0])
def test_the_default_finds_what_recency_cannot(tokens_held: float) -> None:
    """Keeps out a default that falls to nothing below one token's demand, or that is beaten by LRU."""
    trace = cyclic(150, layers=6, per_token=2, experts=32)
    slots = int(6 * 2 * tokens_held)
    shape = Shape(6, 32, 2, slots)
    ours, lru = hit_rate(trace, slots, make(DEFAULT, shape)), hit_rate(trace, slots, make("lru", shape))
    assert ours - lru >= 0.3 * (belady(trace, slots) - lru)


def test_probabilities_of_a_prompt_are_taken_in_order() -> None:
    """Keeps out a prompt counted as a set, which forgets what its last tokens used."""
    policy: Policy = make("learned", Shape(1, 8, 1, 4))
    policy.visit(0, np.array([[1], [2], [2], [2], [3]]))
    worth = policy.worth(0)[0]
    assert worth[3] > worth[1] and worth[2] > worth[1] > worth[7]
    policy.visit(0, np.array([[5]]), np.full((1, 8), 0.125, np.float32))
    assert np.isfinite(policy.worth(0)).all() and policy.worth(0)[0, 5] > worth[7]


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Keeps out a prompt read as decode, or two tokens of it as two visits."""
    file = tmp_path / "routes.csv"
    file.write_text(
        HEAD
        + "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n"
        + "0,0,0,0,0,3,0.5,0,1048576\n0,0,1,0,0,2,0.5,0,1048576\n0,0,1,1,0,1,0.5,0,1048576\n"
        + "0,1,2,0,0,0,0.5,0,1048576\n0,1,2,1,0,1,0.5,0,1048576\n"
    )
    read = read_routes(file)
    assert [(v.decode, v.layer, v.experts.tolist()) for v in read.visits] == [
        (False, 0, [[3], [2]]),
        (False, 1, [[1]]),
        (True, 0, [[0]]),
        (True, 1, [[1]]),
    ]
    assert (read.layers, read.experts, read.per_token, read.expert_bytes) == (2, 4, 1, 1 << 20)
    report = compare(read, 4 << 20)
    assert report.policies and report.default == DEFAULT
    with pytest.raises(ValueError, match="MiB"):
        compare(read, 1000)


BROKEN = {
    "empty": ("", "no choices"),
    "layer": (HEAD + "0,1,0,2,0,1,0.5,0,1\n", "layer 2"),
    "expert": (HEAD + "0,1,0,0,0,4,0.5,0,1\n", "expert 4"),
    "negative": (HEAD + "0,1,0,0,0,-1,0.5,0,1\n", "expert -1"),
    "phase": (HEAD + "0,7,0,0,0,1,0.5,0,1\n", "phase 7"),
    "text": (HEAD + "0,1,0,0,0,x,0.5,0,1\n", "not a whole number"),
    "short": (HEAD + "0,1,0\n", "3 fields"),
    "ragged": (HEAD + "0,0,0,0,0,1,0.5,0,1\n0,0,1,0,0,1,0.5,0,1\n0,0,1,0,1,2,0.5,0,1\n", "different numbers"),
    "sizeless": ("0,1,0,0,0,1,0.5\n", "how large"),
    "binary": ("\x00" * 5000, "longer than"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_trace_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    """Keeps out tracebacks, and numbers that index past an array."""
    file = tmp_path / "routes.csv"
    file.write_text(text)
    with pytest.raises(BadTrace, match=reason):
        read_routes(file)


@settings(max_examples=100)
@given(st.text(alphabet="0123456789,-.#\nabn_layer=expert ", max_size=300))
def test_any_text_is_a_trace_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "routes.csv"
    file.write_text(HEAD + text)
    try:
        assert read_routes(file).visits
    except BadTrace as error:
        assert str(error)
