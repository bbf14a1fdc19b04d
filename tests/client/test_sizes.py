"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_client.cli.sizes import (
    LARGEST_BYTES,
    WeightCache,
    parse_size,
    parse_weight_cache,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GB", 4_000_000_000),
        ("4 gb", 4_000_000_000),
        ("4g", 4_000_000_000),
        ("512MB", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1Gi", 2**30),
        ("2000000000", 2_000_000_000),
        ("7B", 7),
        ("0.5kB", 500),
        ("1TiB", 2**40),
        ("1.1GB", 1_100_000_000),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "4XB", "1e9", "nan", "4GB5", "1.5", "0", "0GB", "9999999TB", "１２GB4", "25%"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_is_a_size_in_range_or_a_clear_error(text: str) -> None:
    try:
        assert 1 <= parse_size(text) <= LARGEST_BYTES
    except ValueError as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25%", WeightCache(None, 25.0)),
        ("0%", WeightCache(None, 0.0)),
        ("99.5 %", WeightCache(None, 99.5)),
        ("100%", WeightCache(None, 100.0)),
        ("0", WeightCache(0, None)),
        ("1GB", WeightCache(10**9, None)),
    ],
)
def test_weight_cache(text: str, expected: WeightCache) -> None:
    assert parse_weight_cache(text) == expected


@pytest.mark.parametrize("text", ["101%", "-1%", "%", "25%%", "a%", "100.001%", ""])
def test_what_is_no_weight_cache(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_weight_cache(text)


def test_size_text() -> None:
    sizes = (0, 12, 4096, 3_060_000, 19.8e9, 999.99e9, 999.999e9, 1000.15e9, 1e14, 2**60)
    assert [size_text(n) for n in sizes] == [
        "0 B",
        "12 B",
        "4.1 kB",
        "3.1 MB",
        "19.80 GB",
        "999.99 GB",
        "1.00 TB",
        "1.00 TB",
        "100.00 TB",
        "1152.92 PB",
    ]
    assert parse_size("2PB") == 2 * 10**15
