"""Times on the command line, and times told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_client.cli.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("1h30m", 5400), ("90", 90), ("-1", -1), ("0", 0), ("-5m", -300)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_duration(text), float)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(299.2, "4m 59s"), (0, "0s"), (-3, "0s"), (60, "1m"), (3600, "1h"), (90061, "1d 1h"), (3601, "1h 1s")],
)
def test_told(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
