"""Runs: what they compute, what they measured, and what follows: medians, spread and the roofline. No effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The longest times that a run may load, read its prompt, and decode."""

    load_seconds: float
    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Workload:
    """What every run computes: the same prompt, sampled with the same seed.

    following_ids: the tokens with which llama.cpp continues, whatever it would choose: another choice,
    because a last bit differs, would change what it computes.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    seed: int
    following_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Seconds and bytes of decoding are per token; None: not known.

    killed: a signal killed it because memory ran out; cut: its time ended before its tokens did.
    used_bytes: the bytes read that were used in computing. others_share: share of the processor's
    time while decoding that other programs took, 0 to 1.
    """

    killed: bool = False
    cut: bool = False
    load_seconds: float | None = None
    ttft_seconds: float | None = None
    prompt_tokens: int = 0
    token_ids: tuple[int, ...] = ()
    token_seconds: float | None = None
    compute_seconds: float | None = None
    stall_seconds: float | None = None
    system_seconds: float | None = None
    hit_rate: float | None = None
    read_bytes: float | None = None
    used_bytes: float | None = None
    written_bytes: int | None = None
    peak_bytes: int | None = None
    drive_bytes_per_second: float | None = None
    others_share: float | None = None

    @property
    def decode_tok_per_second(self) -> float | None:
        return 1 / self.token_seconds if self.token_seconds else None

    @property
    def prefill_tok_per_second(self) -> float | None:
        return self.prompt_tokens / self.ttft_seconds if self.ttft_seconds else None

    @property
    def overhead_seconds(self) -> float | None:
        """The part of a token's time that is neither computing nor waiting for reads."""
        if self.token_seconds is None or self.compute_seconds is None or self.stall_seconds is None:
            return None
        return max(0.0, self.token_seconds - self.compute_seconds - self.stall_seconds)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several runs' figures, and their extremes."""

    median: float
    low: float
    high: float


def spread(runs: Sequence[Run], figure: Callable[[Run], float | None]) -> Spread | None:
    """A figure's spread over the runs that have it; None when none does."""
    values = [value for value in map(figure, runs) if value is not None]
    return Spread(median(values), min(values), max(values)) if values else None


def middle(runs: Sequence[Run], figure: Callable[[Run], float | None]) -> float | None:
    """The median of a figure over the runs that have it; None when none does."""
    found = spread(runs, figure)
    return found.median if found is not None else None


def roofline_seconds(
    compute_seconds: float, used_bytes_per_token: float, drive_bytes_per_second: float | None
) -> float | None:
    """The least time of a token: computing it, or reading what it needs, whichever takes longer.

    None when bytes must be read and the drive's bandwidth is not known.
    """
    if not used_bytes_per_token:
        return compute_seconds
    return max(compute_seconds, used_bytes_per_token / drive_bytes_per_second) if drive_bytes_per_second else None


def agreement(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Share of the positions where both chose the same token, 0 to 1."""
    pairs = list(zip(one, other, strict=False))
    return sum(mine == theirs for mine, theirs in pairs) / len(pairs) if pairs else None


def repetition(tokens: Sequence[int], length: int = 4) -> float:
    """Share of runs of `length` tokens that occurred before, 0 to 1: near 1, the output repeats itself."""
    grams = [tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def less(later: int | None, before: int | None) -> int | None:
    """The difference of two counts, where both are known."""
    return None if later is None or before is None else later - before
