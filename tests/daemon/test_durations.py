"""Durations: what Go takes, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.durations import parse_duration, parse_keep_alive


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("-1s", -1),
        ("300ms", 0.3),
        ("0", 0),
        (".5s", 0.5),
        ("1h0m0s", 3600),
    ],
)
def test_what_go_takes(text: str, seconds: float) -> None:
    assert math.isclose(parse_duration(text), seconds)


@pytest.mark.parametrize("text", ["", "300", "m", "5 m", "5M", "1d", "--1s", "1s2", "٥m", "nan", "inf"])
def test_what_it_does_not(text: str) -> None:
    with pytest.raises(ValueError, match="give a duration"):
        parse_duration(text)


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none() | st.booleans())
def test_any_keep_alive_is_a_number_or_a_value_error(value: object) -> None:
    try:
        assert not math.isnan(parse_keep_alive(value))
    except ValueError:
        pass


@pytest.mark.parametrize(("value", "seconds"), [("-1", -1), (300, 300), ("10m", 600), ("2.5", 2.5)])
def test_keep_alive_settings(value: object, seconds: float) -> None:
    assert parse_keep_alive(value) == seconds
