"""What tuning decides from given samples, and what it keeps for a scripted machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypura_client.errors import ModelNotFound, WorkerDied
from hypura_client.tuning.axes import Axis, Figure, Planned, Settings, axes
from hypura_client.tuning.campaign import campaign
from hypura_client.tuning.decision import LEAST_GAIN, Outcome, Pair, Sample, gain_of, hopeless, judge

PLANNED = Planned(8, 16, 16, 16, 4, 4 << 20, streams=True)
SPIN = Axis("spin_count", Figure.DECODE, (0, 1000), same_tokens=True)
PROMPTS = Axis("batch_threads", Figure.PROMPT, (8,), same_tokens=False)
_seconds = st.floats(1e-4, 10)


def sample(token: float, prompt: float = 1.0, tokens: tuple[int, ...] = (1, 2)) -> Sample:
    return Sample(token, prompt, tokens)


def pairs_of(*seconds: tuple[float, float]) -> list[Pair]:
    return [Pair(sample(base), sample(trial)) for base, trial in seconds]


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [
        ([(1.0, 0.9), (1.0, 0.91), (1.0, 0.89)], Outcome.BETTER),
        ([(1.0, 0.9)] * 2, Outcome.NOISE),  # too few pairs
        ([(1.0, 0.99)] * 3, Outcome.NOISE),  # sure, and too little
        ([(1.0, 0.5), (1.0, 0.9), (1.0, 1.3)], Outcome.NOISE),  # large, and as large as the spread
        ([(1.0, 1.1)] * 3, Outcome.NOISE),
    ],
)
def test_better_is_more_than_noise(seconds: list[tuple[float, float]], outcome: Outcome) -> None:
    assert judge(pairs_of(*seconds), Figure.DECODE, must_be_same=True).outcome is outcome


def test_other_tokens_are_a_defect_only_where_no_bit_may_change() -> None:
    pairs = [Pair(sample(1.0), sample(0.8, tokens=(1, 3)))] * 3
    assert judge(pairs, Figure.DECODE, must_be_same=True).outcome is Outcome.OTHER_TOKENS
    assert hopeless(pairs[:1], 3, Figure.DECODE, must_be_same=True)
    threads = judge(pairs, Figure.DECODE, must_be_same=False)
    assert threads.outcome is Outcome.BETTER and not threads.same_tokens


def test_what_makes_prompts_much_slower_is_not_better() -> None:
    pairs = [Pair(sample(1.0, 1.0), sample(0.8, 1.2))] * 3
    assert judge(pairs, Figure.DECODE, must_be_same=True).outcome is Outcome.COSTLY


@given(st.lists(st.tuples(_seconds, _seconds), min_size=1, max_size=10))
@example([(0.0675216490816335, 6.4375)] * 3)
def test_a_bound_is_no_more_than_what_was_measured(seconds: list[tuple[float, float]]) -> None:
    pairs = pairs_of(*seconds)
    gains = [pair.gain(Figure.DECODE) for pair in pairs]
    found = gain_of(gains)
    assert min(gains) <= found.middle <= max(gains)
    assert found.low <= max(gains)
    verdict = judge(pairs, Figure.DECODE, must_be_same=True)
    if verdict.outcome is Outcome.BETTER:
        assert found.low > 0 and found.middle >= LEAST_GAIN
        worse = [Pair(pair.trial, pair.base) for pair in pairs]
        assert judge(worse, Figure.DECODE, must_be_same=True).outcome is not Outcome.BETTER


@given(st.integers(3, 10), st.data())
def test_a_trial_that_is_given_up_could_not_have_become_better(planned: int, data: st.DataObject) -> None:
    slow = st.tuples(st.just(1.0), st.floats(0.985, 1.2))
    done = pairs_of(*data.draw(st.lists(slow, min_size=planned // 2 + 1, max_size=planned)))
    assert hopeless(done, planned, Figure.DECODE, must_be_same=True)
    rest = pairs_of(*data.draw(st.lists(st.tuples(_seconds, _seconds), max_size=planned - len(done))))
    full = [*done, *rest, *pairs_of(*[(10.0, 0.1)] * (planned - len(done) - len(rest)))]
    assert judge(full, Figure.DECODE, must_be_same=True).outcome is not Outcome.BETTER


@given(
    st.integers(1, 128),
    st.integers(1, 128),
    st.integers(1, 64),
    st.integers(1, 128).map(lambda n: n << 16),
    st.booleans(),
)
def test_the_daemon_takes_every_candidate(physical: int, usable: int, depth: int, chunk: int, streams: bool) -> None:
    """Keeps out candidates that the daemon refuses, alone or together."""
    planned = Planned(physical, usable, usable, usable, depth, chunk, streams)
    tried = {axis.name: axis.values for axis in axes(planned)}
    for name in ("threads", "batch_threads"):
        assert all(1 <= count < usable for count in tried.get(name, ()))
    depths, chunks = tried.get("queue_depth", ()), tried.get("chunk_bytes", ())
    assert streams or not (depths or chunks)
    for d in (*depths, depth):
        for c in (*chunks, chunk):
            assert (d, c) == (depth, chunk) or d * c <= 64 << 20
    assert depth not in depths and chunk not in chunks


def machine(seconds: Callable[[Settings, int], float]) -> tuple[list[Settings], Callable[[Settings], Sample]]:
    """A machine with a given decoding time for its n-th run, and the runs that were requested."""
    asked: list[Settings] = []

    def run(settings: Settings) -> Sample:
        asked.append(settings)
        return sample(seconds(settings, len(asked)))

    return asked, run


def ignore(text: str) -> None:
    pass


def test_what_is_faster_is_kept_with_its_gain() -> None:
    asked, run = machine(lambda settings, _: 0.8 if settings.spin_count == 1000 else 1.0)
    found = campaign(run, [SPIN, PROMPTS], 3, ignore)
    assert found.settings == Settings(spin_count=1000)
    assert found.gain(Figure.DECODE) == pytest.approx(0.25) and found.gain(Figure.PROMPT) == 0
    assert [trial.verdict.outcome for trial in found.trials] == [Outcome.NOISE, Outcome.BETTER, Outcome.NOISE]
    best = Settings(spin_count=1000)
    assert asked[4:10] == [Settings(), best, best, Settings(), Settings(), best]  # in turns, neither always later
    assert asked[-6:] == asked[4:10]  # the confirmation
    assert replace(best, batch_threads=8) in asked  # later settings are tried with the best so far


def test_a_gain_by_chance_fails_the_confirmation() -> None:
    """Among many values one is better by chance; fresh runs show that."""
    asked, run = machine(lambda settings, number: 0.8 if settings.spin_count == 0 and number <= 6 else 1.0)
    found = campaign(run, [replace(SPIN, values=(0,))], 3, ignore)
    assert found.trials[0].verdict.outcome is Outcome.BETTER
    assert not found.kept and found.gain(Figure.DECODE) == 0
    assert len(asked) == 12


def test_a_trial_that_dies_is_left_out_and_a_base_that_dies_ends_it() -> None:
    def run(settings: Settings) -> Sample:
        if settings.spin_count == 0:
            raise WorkerDied("it was killed")
        return sample(1.0)

    found = campaign(run, [SPIN], 3, ignore)
    assert found.trials[0].verdict.outcome is Outcome.FAILED and "killed" in found.trials[0].verdict.message

    def gone(settings: Settings) -> Sample:
        raise ModelNotFound("no such model")

    with pytest.raises(ModelNotFound):
        campaign(gone, [SPIN], 3, ignore)
