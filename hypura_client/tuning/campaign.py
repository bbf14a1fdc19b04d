"""A campaign: each value of each setting in turns with the best so far; then all that was better against the plan.

threads=4     base trial · trial base · base trial      the order alternates, so that neither gains by being second
spin_count=0  base trial · trial base                   stopped: it cannot become better any more
all           planner's tuned · tuned planner's · …     fresh runs: values that were better by chance fail here
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hypura_client.errors import BudgetTooSmall, InvalidRequest, WorkerDied, WorkerFailed
from hypura_client.tuning.axes import Axis, Figure, Settings
from hypura_client.tuning.decision import Outcome, Pair, Sample, Verdict, hopeless, judge

Run = Callable[[Settings], Sample]
Note = Callable[[str], None]
_TRIAL_ERRORS = (BudgetTooSmall, InvalidRequest, WorkerDied, WorkerFailed)


class TrialFailed(Exception):
    """The base ran, but the trial did not."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One value of one setting, and its verdict."""

    axis: Axis
    value: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """settings: what to keep. confirmed: verdicts on the better settings together, by figure."""

    settings: Settings
    trials: tuple[Trial, ...]
    confirmed: dict[Figure, Verdict]

    @property
    def kept(self) -> bool:
        return self.settings != Settings()

    def gain(self, figure: Figure) -> float:
        """How much faster the kept settings are; 0 when nothing is kept."""
        for known, verdict in self.confirmed.items():
            measured = verdict.gain if known is figure else verdict.other
            if self.kept and measured is not None:
                return measured.middle
        return 0.0


def campaign(run: Run, axes: Sequence[Axis], pairs: int, note: Note) -> Found:
    """Tries all values. Raises what running the planner's choice raises."""
    best, adopted, trials = Settings(), list[Axis](), list[Trial]()
    for axis in axes:
        for value in axis.values:
            note(f"{axis.name} {value}")
            trial = replace(best, **{axis.name: value})
            verdict = _try(run, best, trial, axis, pairs)
            note(f"  {verdict_text(verdict)}")
            trials.append(Trial(axis, value, verdict))
            if verdict.outcome is Outcome.BETTER:
                best = trial
                adopted = [*(other for other in adopted if other is not axis), axis]
    if not adopted:
        return Found(Settings(), tuple(trials), {})
    note("all settings that were faster, against the planner's choice")
    confirmed = _confirmed(run, best, adopted, pairs)
    for figure, verdict in confirmed.items():
        note(f"  {figure.value}: {verdict_text(verdict)}")
    lost = [axis for axis in adopted if confirmed[axis.figure].outcome is not Outcome.BETTER]
    return Found(replace(best, **{axis.name: None for axis in lost}), tuple(trials), confirmed)


def verdict_text(verdict: Verdict) -> str:
    """A verdict for people."""
    if verdict.gain is None:
        return f"{verdict.outcome.value}: {verdict.message}"
    return f"{verdict.gain.middle:+.1%} in {verdict.pairs} pairs: {verdict.outcome.value}"


def _try(run: Run, base: Settings, trial: Settings, axis: Axis, pairs: int) -> Verdict:
    done: list[Pair] = []
    try:
        while len(done) < pairs and not hopeless(done, pairs, axis.figure, must_be_same=axis.same_tokens):
            done.append(_pair(run, base, trial, trial_first=len(done) % 2 == 1))
    except TrialFailed as error:
        return Verdict(Outcome.FAILED, message=str(error))
    return judge(done, axis.figure, must_be_same=axis.same_tokens)


def _confirmed(run: Run, best: Settings, adopted: Sequence[Axis], pairs: int) -> dict[Figure, Verdict]:
    must_be_same = all(axis.same_tokens for axis in adopted)
    figures = [figure for figure in Figure if any(axis.figure is figure for axis in adopted)]
    try:
        done = [_pair(run, Settings(), best, trial_first=number % 2 == 1) for number in range(pairs)]
    except TrialFailed as error:
        return {figure: Verdict(Outcome.FAILED, message=str(error)) for figure in figures}
    return {figure: judge(done, figure, must_be_same=must_be_same) for figure in figures}


def _pair(run: Run, base: Settings, trial: Settings, *, trial_first: bool) -> Pair:
    """Runs both, one right after the other. Raises TrialFailed."""
    early = _run_trial(run, trial) if trial_first else None
    based = run(base)
    return Pair(based, early if early is not None else _run_trial(run, trial))


def _run_trial(run: Run, trial: Settings) -> Sample:
    try:
        return run(trial)
    except _TRIAL_ERRORS as error:
        raise TrialFailed(str(error)) from error
