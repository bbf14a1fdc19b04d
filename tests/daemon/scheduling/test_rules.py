"""Keep-alive, admission, and pauses after crashes."""

import math

import pytest

from hypura_daemon.scheduling.rules import LONGEST_PAUSE_SECONDS, Crashes, WaitingRequest, admitted, expiry


@pytest.mark.parametrize(
    ("keep_alive", "expires"), [(0, 7.0), (60, 67.0), (-1, math.inf), (math.inf, math.inf), (1e300, math.inf)]
)
def test_expiry(keep_alive: float, expires: float) -> None:
    assert expiry(7.0, keep_alive) == expires


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


FITS = WaitingRequest(True)


def larger(waited: float, overtakable: float) -> WaitingRequest:
    return WaitingRequest(False, waited, overtakable)


@pytest.mark.parametrize(
    ("asking", "places", "indices"),
    [
        ([], 5, ()),
        ([FITS] * 3, 5, (0, 1, 2)),
        ([FITS] * 3, 2, (0, 1)),
        ([FITS], 0, ()),
        ([FITS], -1, ()),
        ([larger(5, 20), FITS], 5, (1,)),
        ([FITS, larger(20, 20), FITS], 5, (0,)),
        ([larger(0, 0), FITS], 5, ()),  # other options, asked for by hand: those behind it wait with it
        ([WaitingRequest(False, 1e9), FITS], 5, (1,)),  # no load for it in sight
    ],
)
def test_admitted(asking: list[WaitingRequest], places: int, indices: tuple[int, ...]) -> None:
    assert admitted(asking, places) == indices
