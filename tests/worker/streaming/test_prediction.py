"""What the compiled hook learns of a model's routing while it runs: against references, and on patterns."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.llama.library import hook
from hypura_worker.streaming.experts import ExpertStreamer
from hypura_worker.streaming.prediction import Coactivation, Confidence, Likelihood
from hypura_worker.streaming.replacement.learned import Learned
from hypura_worker.streaming.replacement.policy import Shape
from tests.models.random_architectures import write_random_model
from tests.worker.conftest import running
from tests.worker.plans import make_plan

LAYERS, EXPERTS, PER_TOKEN = 3, 16, 4
PRIOR_TOKENS = 4

Ids = npt.NDArray[np.int32]


def choices(rng: np.random.Generator, tokens: int) -> Ids:
    """[tokens, PER_TOKEN], each token's experts distinct, the first ones likelier."""
    weights = np.arange(EXPERTS, 0, -1) / np.arange(EXPERTS, 0, -1).sum()
    rows = [rng.choice(EXPERTS, PER_TOKEN, replace=False, p=weights) for _ in range(tokens)]
    return np.array(rows, np.int32)


def test_likelihood_equals_its_twin() -> None:
    """Decoding, router known and not; a drift between replay and runs would make the replay tool lie."""
    rng = np.random.default_rng(3)
    compiled, twin = Likelihood(LAYERS, EXPERTS, PER_TOKEN), Learned(Shape(LAYERS, EXPERTS, PER_TOKEN, slots=8))
    for token in range(200):
        for layer in range(LAYERS):
            probabilities = rng.dirichlet(np.linspace(2, 0.2, EXPERTS), 1).astype(np.float32)
            ids = np.argsort(-probabilities, axis=1)[:, :PER_TOKEN].astype(np.int32)
            known = probabilities if token % 3 else None
            twin.visit(layer, ids, known)
            hook().hypura_likelihood_visit(
                ctypes.addressof(compiled.state), layer, ids.ctypes.data, PER_TOKEN, 1,
                known.ctypes.data if known is not None else None,
            )  # fmt: skip
        hook().hypura_likelihood_learn(ctypes.addressof(compiled.state))
        assert np.allclose(compiled.by_layer, twin.likelihood(), rtol=0.02, atol=2e-4), token


class Visits:
    """Reports to the hook what each layer of a pass chose, and counts the same by hand."""

    def __init__(self) -> None:
        self.table = Coactivation(LAYERS, EXPERTS, PER_TOKEN)
        self.pairs = np.zeros((LAYERS, EXPERTS, EXPERTS))
        self.chosen = np.full((LAYERS, EXPERTS), PER_TOKEN / EXPERTS)
        self.tokens = np.ones(LAYERS)

    def visit(self, layer: int, ids: Ids, before: Ids | None = None) -> None:
        hook().hypura_coactivation_visit(
            ctypes.addressof(self.table.state), layer, before is not None, ids.ctypes.data, PER_TOKEN, len(ids)
        )
        for lead, follow in zip(before if before is not None else [], ids, strict=False):
            self.pairs[layer][np.ix_(lead, follow)] += 1
            self.chosen[layer][follow] += 1
            self.tokens[layer] += 1

    def lift(self, layer: int) -> npt.NDArray[np.float32]:
        found = np.zeros(EXPERTS, np.float32)
        hook().hypura_coactivation_lift(ctypes.addressof(self.table.state), layer, found.ctypes.data)
        return found

    def lift_by_hand(self, layer: int, leads: Ids) -> npt.NDArray[np.float64]:
        """Of each expert after these of the layer before; a lead's choices are PER_TOKEN for each time it led."""
        usual = self.chosen[layer] / self.tokens[layer]
        led = self.pairs[layer][leads].sum(1, keepdims=True) / PER_TOKEN
        ratio = (self.pairs[layer][leads] + PRIOR_TOKENS * usual) / ((led + PRIOR_TOKENS) * usual)
        found: npt.NDArray[np.float64] = np.log(ratio).mean(0)
        return found

    def close(self) -> None:
        hook().hypura_coactivation_free(ctypes.addressof(self.table.state))


def test_lift_is_counted_over_prompts_and_tokens() -> None:
    rng, visits = np.random.default_rng(5), Visits()
    for tokens in (40, 1, 1, 7, 1):
        before: Ids | None = None
        for layer in range(LAYERS):
            ids = choices(rng, tokens)
            visits.visit(layer, ids, before)
            before = ids
            if tokens == 1 and layer + 1 < LAYERS:
                assert np.allclose(visits.lift(layer + 1), visits.lift_by_hand(layer + 1, ids[0]), atol=1e-4)
    visits.close()


def test_a_pass_that_leaves_tokens_out_pairs_none_of_them() -> None:
    """The last layer of a prompt computes only tokens whose output is requested, and the hook does not know which."""
    rng, visits = np.random.default_rng(6), Visits()
    first = choices(rng, 12)
    visits.visit(0, first)
    fewer = choices(rng, 3)
    hook().hypura_coactivation_visit(
        ctypes.addressof(visits.table.state), 1, True, fewer.ctypes.data, PER_TOKEN, len(fewer)
    )
    one = choices(rng, 1)
    visits.visit(0, one)
    assert np.all(visits.lift(1) == 0)
    visits.close()


def test_full_counts_are_halved() -> None:
    """70,000 tokens of one path, more than a count holds, and then 70,000 of another: the lift turns round."""
    visits = Visits()
    paths = [np.arange(PER_TOKEN, dtype=np.int32) + first for first in (4, 8)]
    lead = np.arange(PER_TOKEN, dtype=np.int32)
    lifts = []
    for path in paths:
        for _ in range(7):
            leads = np.tile(lead, (10_000, 1))
            visits.visit(0, leads)
            visits.visit(1, np.tile(path, (10_000, 1)), leads)
        visits.visit(0, lead[np.newaxis])
        lifts.append(visits.lift(1))
    assert np.isfinite(lifts).all()
    assert lifts[0][4] > lifts[0][8] + 2
    assert lifts[1][8] > lifts[0][8] + 2
    visits.close()


@pytest.mark.parametrize("counts", [1, 2, 3])
def test_confidence_learns_which_evidence_counts(counts: int) -> None:
    """1,000 predictions that one kind of evidence alone decides: confidence follows it, up and down."""
    rng, confidence = np.random.default_rng(counts), Confidence.unlearned()
    address = ctypes.addressof(confidence)
    for _ in range(1000):
        evidence = np.concatenate(([1.0], rng.normal(size=3))).astype(np.float32)
        came_true = bool(rng.random() < 1 / (1 + np.exp(-3 * evidence[counts])))
        hook().hypura_confidence_learn(address, evidence.ctypes.data, came_true)
    for sign, least, most in ((1.5, 0.9, 1.0), (-1.5, 0.0, 0.1)):
        evidence = np.array([1, 0, 0, 0], np.float32)
        evidence[counts] = sign
        assert least <= hook().hypura_confidence_of(address, evidence.ctypes.data) <= most


def test_without_a_known_router_coactivation_predicts(moe_model: Path) -> None:
    """The hook does not read a router of another type than F32."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    with running(plan) as engine:
        expected = engine.tokens([5, 6, 7], 80)
    with running(plan) as engine:
        streamer = engine.model.streamer
        assert isinstance(streamer, ExpertStreamer)
        for layer in streamer._layers:
            layer.router.rows = None
        assert engine.tokens([5, 6, 7], 80) == expected
        counters = engine.engine.counters.stream
    assert counters.prefetched_used_bytes > 0


def test_every_layer_has_lookaheads(moe_model: Path) -> None:
    """The first from the token's embedding, the others from what leaves the layer before and the one before that."""
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)) as engine:
        engine.tokens([5, 6, 7], 80)
        streamer, counters = engine.model.streamer, engine.engine.counters.stream
        assert isinstance(streamer, ExpertStreamer)
        learned = [[lookahead.shift_tokens > 0 for lookahead in layer.lookahead] for layer in streamer._layers]
        expert_bytes = streamer._layers[0].expert_bytes
    assert learned == [[True, False], [True, True], [True, True], [True, True]]
    assert counters.misses * expert_bytes < counters.prefetched_used_bytes, "most of what is missing is predicted"


def test_a_busy_drive_reads_nothing_for_the_earlier_lookahead(moe_model: Path) -> None:
    """The confidence of the earlier lookahead is 0.73 here, and that of the later one too low to read anything."""
    read = []
    for milliseconds, busy in ((0, 0.0), (20, 1.0)):
        with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=4)) as engine:
            streamer = engine.model.streamer
            assert isinstance(streamer, ExpertStreamer)
            for layer in streamer._layers:
                for lookahead, sure in zip(layer.lookahead, (-20.0, 1.0), strict=True):
                    lookahead.confidence.weights[:] = (sure, 0, 0, 0)
                    lookahead.confidence.squares[:] = (1e12,) * 4  # nothing more is learned
            engine.model.slow_drive(milliseconds)
            engine.tokens([5], 5)
            streamer._state.drive_busy = busy
            before = engine.engine.counters.stream.prefetched_bytes
            engine.tokens([6], 20)
            read.append(engine.engine.counters.stream.prefetched_bytes - before)
    assert read[0] > 0 == read[1]


def test_layer_outputs_may_be_unknown(tmp_path: Path) -> None:
    """deepseek4 has no node of that name: predictions are made from the gate inputs of earlier layers."""
    path = tmp_path / "model.gguf"
    write_random_model("deepseek4", True, path)
    with running(make_plan(path, pb.MODE_EXPERT_STREAMING, slots=12)) as engine:
        engine.tokens([5, 6, 7], 80)
        streamer, counters = engine.model.streamer, engine.engine.counters.stream
        assert isinstance(streamer, ExpertStreamer)
        assert not streamer._state.layer_outputs_known
        assert all(layer.lookahead[0].shift_tokens > 0 for layer in streamer._layers)
    assert counters.prefetched_used_bytes > 0.29 * counters.prefetched_bytes, "by chance it would be a quarter"


def test_lookaheads_pause_while_everything_is_in_memory(moe_model: Path) -> None:
    """A lookahead costs time at every layer; it begins again with the first expert that is missing."""
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=32)) as engine:
        streamer = engine.model.streamer
        assert isinstance(streamer, ExpertStreamer)
        engine.tokens([5, 6, 7], 80)
        for layer in streamer._layers:
            layer.lookahead[0].shift_tokens = 0
        engine.tokens([5, 6, 7], 20)
        assert not any(layer.lookahead[0].shift_tokens for layer in streamer._layers)
        streamer.fit(streamer.place_bytes // 4)
        engine.tokens([5, 6, 7], 20)
        assert all(layer.lookahead[0].shift_tokens for layer in streamer._layers)


def test_prefetches_are_read_and_used(moe_model: Path) -> None:
    """More prefetched experts are used than chance would explain, and never more than were read."""
    with running(make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)) as engine:
        engine.tokens([5, 6, 7], 80)
        counters = engine.engine.counters.stream
    assert 0 < counters.prefetched_used_bytes <= counters.prefetched_bytes
    assert counters.prefetched_used_bytes > counters.prefetched_bytes / 3, "by chance it would be a quarter"
