"""Times and sizes that follow from rules: keep-alive, context, pauses after crashes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.scheduling.context import LEAST_STEP_TOKENS, context_for, rounded
from hypura_daemon.scheduling.crashes import LONGEST_PAUSE_SECONDS, Crashes
from hypura_daemon.scheduling.rules import expiry


@pytest.mark.parametrize(
    ("keep_alive", "expires"), [(0, 7.0), (60, 67.0), (-1, math.inf), (math.inf, math.inf), (1e300, math.inf)]
)
def test_expiry(keep_alive: float, expires: float) -> None:
    assert expiry(7.0, keep_alive) == expires


@pytest.mark.parametrize(
    ("usual", "least", "trained", "tokens"),
    [
        (4096, 0, 32768, 4096),
        (4096, 512, 32768, 4096),
        (4096, 4096, 32768, 4096),
        (4096, 4097, 32768, 4608),
        (4096, 32000, 32768, 32768),
        (4096, 32767, 32768, 32768),
        (4096, 32769, 32768, 32769),  # more than it was trained for: the planner refuses that
        (512, 600, 600, 600),
    ],
)
def test_context(usual: int, least: int, trained: int, tokens: int) -> None:
    assert context_for(usual, least, trained) == tokens


@given(st.integers(1, 1 << 24))
def test_rounding_adds_little(tokens: int) -> None:
    assert tokens <= rounded(tokens) <= tokens + max(LEAST_STEP_TOKENS, tokens // 8)
    assert rounded(tokens) % LEAST_STEP_TOKENS == 0
    assert rounded(rounded(tokens)) == rounded(tokens)


def test_a_crash_loop_pauses_longer_and_longer_but_not_for_ever() -> None:
    crashes, now, pauses = Crashes(), 0.0, []
    for _ in range(12):
        crashes = crashes.after(now)
        pauses.append(max(0.0, crashes.paused_until_seconds - now))
        now = max(now + 1, crashes.paused_until_seconds)
    assert pauses[:5] == [0, 0, 30, 60, 120]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_rare_crashes_do_not_pause() -> None:
    crashes = Crashes()
    for i in range(20):
        crashes = crashes.after(i * 31.0)
        assert crashes.paused_until_seconds == 0
