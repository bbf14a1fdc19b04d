"""Sizes as people write them, and as they are written for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.sizes import LARGEST_BYTES, MAX_MEMORY_BYTES, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GB", 4_000_000_000),
        ("4 gb", 4_000_000_000),
        ("4g", 4_000_000_000),
        (" 512 mb ", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1Gi", 2**30),
        ("1kib", 1024),
        ("2000000000", 2_000_000_000),
        ("7B", 7),
        ("0.5kB", 500),
        ("1TiB", 2**40),
        ("1.1GB", 1_100_000_000),
        ("2PB", 2 * 10**15),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "", "GB", "-1GB", "4XB", "4 G B", "1e9", "nan", "4GB5", "1.5", "0", "0GB", "0.0000001KB", "9999999TB",
        "١GB", "１２GB", "4\N{KELVIN SIGN}B", "25%",
    ],
)  # fmt: skip
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="give a size"):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_is_a_size_in_range_or_a_value_error(text: str) -> None:
    try:
        assert 1 <= parse_size(text) <= LARGEST_BYTES
    except ValueError as error:
        assert str(error).startswith("give a size")


def test_the_range_may_be_narrower() -> None:
    assert parse_size("0", least_bytes=0) == 0
    with pytest.raises(ValueError, match=r"give a size from 1 B to 1 GB$"):
        parse_size("2GB", most_bytes=10**9)


@given(st.integers(0, LARGEST_BYTES) | st.sampled_from((MAX_MEMORY_BYTES, LARGEST_BYTES, 10**15, 3 << 20, 4000)))
def test_the_named_range_is_accepted(bound_bytes: int) -> None:
    """1.13 PB was named for 2^50 bytes, which are less."""
    with pytest.raises(ValueError, match="give a size from") as caught:
        parse_size("9" * 19, least_bytes=bound_bytes, most_bytes=bound_bytes)
    words = str(caught.value).removeprefix("give a size from ").split(" to ")
    assert [parse_size(word, least_bytes=0) for word in words] == [bound_bytes, bound_bytes]


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
