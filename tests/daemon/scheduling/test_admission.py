"""Which waiting requests are let in: a table."""

import pytest

from hypura_daemon.scheduling.admission import Asking, admitted

FITS = Asking(True)


def larger(waited: float, overtakable: float) -> Asking:
    return Asking(False, waited, overtakable)


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
        ([Asking(False, 1e9), FITS], 5, (1,)),  # no load for it in sight
    ],
)
def test_admitted(asking: list[Asking], places: int, indices: tuple[int, ...]) -> None:
    assert admitted(asking, places) == indices
