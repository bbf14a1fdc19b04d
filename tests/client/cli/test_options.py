"""Options: values become what the daemon takes, or a usage error that names the value and the remedy."""

import pytest
import typer

from hypura_client.cli.options import WeightCache, _parser, parse_weight_cache


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


@pytest.mark.parametrize("text", ["101%", "-1%", "%", "25%%", "a%", "100.001%", "٢%", ""])
def test_what_is_not_a_weight_cache(text: str) -> None:
    with pytest.raises(ValueError, match="give a"):
        parse_weight_cache(text)


def test_a_usage_error_names_the_value_and_the_remedy() -> None:
    with pytest.raises(typer.BadParameter, match=r"'4%%' cannot be used; give a percentage from 0% to 100%"):
        _parser(parse_weight_cache, "size or percentage")("4%%")
