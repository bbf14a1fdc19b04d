"""Durations: what Go takes and nothing else, what people write, and what is written for them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.durations import duration_text, parse_duration, parse_go_duration


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
    assert math.isclose(parse_go_duration(text), seconds)


@pytest.mark.parametrize("text", ["", "300", "m", "5 m", "5M", "1d", "--1s", "1s2", "٥m", "nan", "inf"])
def test_what_go_does_not_take(text: str) -> None:
    with pytest.raises(ValueError, match="give a duration"):
        parse_go_duration(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("5M", 300),
        ("90", 90),
        (" 2.5 ", 2.5),
        ("-1", -1),
        ("0", 0),
        ("-5m", -300),
        (300, 300),
        ("inf", math.inf),
    ],
)
def test_what_people_write(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 m", "1s2", "٥m", "nan", math.nan, None, True])
def test_what_is_not_a_duration(value: object) -> None:
    with pytest.raises(ValueError, match="give seconds"):
        parse_duration(value)


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none() | st.booleans())
def test_any_value_is_a_number_or_a_value_error(value: object) -> None:
    try:
        assert not math.isnan(parse_duration(value))
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(299.2, "4m 59s"), (0, "0s"), (-3, "0s"), (60, "1m"), (3600, "1h"), (90061, "1d 1h"), (3601, "1h 1s")],
)
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
