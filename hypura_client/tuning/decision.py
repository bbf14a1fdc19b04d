"""Which of two settings is better: from pairs of runs made in turns to a verdict. No effects.

gain of a pair   seconds of the base over seconds of the trial, less 1: how much faster the trial was
better           the median gain is at least 2 %, and the mean gain's lower confidence bound is above zero
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, median, stdev

from hypura_client.tuning.axes import Figure

LEAST_PAIRS = 3
LEAST_GAIN = 0.02
"""Less is not worth a setting that may cost speed with another version or drive."""
MOST_COST = 0.05
"""The largest loss of the figure that the setting is not meant for."""
_HOPELESS_LOSS = 0.2
"""A value that lost so much is not tried again: where noise is as large as this, no gain can be found anyway."""
_T_95 = {2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833}
"""Student's t by degrees of freedom, one-sided, 95 %; for more, that of 9, which is on the safe side."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. token_seconds: per decoded token; prompt_seconds: to read the prompt; both above zero."""

    token_seconds: float
    prompt_seconds: float
    token_ids: tuple[int, ...]

    def seconds(self, figure: Figure) -> float:
        return self.token_seconds if figure is Figure.DECODE else self.prompt_seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, one right after the other."""

    base: Sample
    trial: Sample

    def gain(self, figure: Figure) -> float:
        return self.base.seconds(figure) / self.trial.seconds(figure) - 1

    @property
    def same_tokens(self) -> bool:
        return self.base.token_ids == self.trial.token_ids


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain of several pairs. low: the mean's lower confidence bound; -infinity for fewer than two pairs."""

    middle: float
    low: float


class Outcome(Enum):
    """The result of a trial."""

    BETTER = "better"
    NOISE = "no gain beyond noise"
    COSTLY = "costs the other figure"
    OTHER_TOKENS = "changed the output"
    FAILED = "did not run"


@dataclass(frozen=True, slots=True)
class Verdict:
    """gain: of the figure that the setting is meant for; other: of the other figure; None: not measured."""

    outcome: Outcome
    gain: Gain | None = None
    other: Gain | None = None
    pairs: int = 0
    same_tokens: bool = True
    message: str = ""


def gain_of(gains: Sequence[float]) -> Gain:
    """The median of at least one gain, and its lower confidence bound."""
    if len(gains) < 2:
        return Gain(median(gains), -math.inf)
    factor = _T_95[min(len(gains) - 1, max(_T_95))] if len(gains) > 2 else math.inf
    spread = stdev(gains)
    mean = min(fmean(gains), max(gains))  # Rounding can make the mean of equal gains larger than they are.
    return Gain(median(gains), mean - (factor * spread / math.sqrt(len(gains)) if spread else 0.0))


def judge(pairs: Sequence[Pair], figure: Figure, *, must_be_same: bool) -> Verdict:
    """The verdict on at least one pair. must_be_same: the trial must give the base's tokens."""
    gain, other = gain_of([p.gain(figure) for p in pairs]), gain_of([p.gain(figure.other) for p in pairs])
    same = all(pair.same_tokens for pair in pairs)
    if must_be_same and not same:
        outcome = Outcome.OTHER_TOKENS
    elif len(pairs) < LEAST_PAIRS or gain.middle < LEAST_GAIN or gain.low <= 0:
        outcome = Outcome.NOISE
    else:
        outcome = Outcome.COSTLY if other.middle < -MOST_COST else Outcome.BETTER
    return Verdict(outcome, gain, other, len(pairs), same)


def hopeless(pairs: Sequence[Pair], planned_pairs: int, figure: Figure, *, must_be_same: bool) -> bool:
    """Whether no further pair can make the trial better: most of the planned pairs gained too little, one lost very
    much, or the output differs."""
    gains = [pair.gain(figure) for pair in pairs]
    # The median of 2 n pairs lies between the middle two, so as many as half may be below.
    too_little = sum(gain < LEAST_GAIN for gain in gains) > planned_pairs // 2
    return (
        too_little
        or any(gain < -_HOPELESS_LOSS for gain in gains)
        or (must_be_same and not all(pair.same_tokens for pair in pairs))
    )
