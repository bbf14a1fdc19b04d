"""The options that several commands share, and the load options made of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from hypura.durations import parse_duration
from hypura.sizes import parse_size
from hypura.v1 import control_pb2 as control

T = TypeVar("T")
_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s*%", re.ASCII)


@dataclass(frozen=True, slots=True)
class WeightCache:
    """How much of the streamable weights may stay in memory; exactly one of the two is set."""

    size_bytes: int | None
    percent: float | None


def parse_weight_cache(text: str) -> WeightCache:
    """A size, or a percentage of the streamable weights. Raises ValueError for anything else."""
    if "%" not in text:
        return WeightCache(parse_size(text, least_bytes=0), None)
    match = _PERCENTAGE.fullmatch(text.strip())
    if match is None or not 0 <= float(match[1]) <= 100:
        raise ValueError("give a percentage from 0% to 100%, or a size such as 4GB")
    return WeightCache(None, float(match[1]))


def _parser(parse: Callable[[str], T], name: str) -> Callable[[str], T]:
    """`parse` with its ValueError as a usage error; typer would show the value without the reason."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r} cannot be used; {error}") from error

    parsed.__name__ = name
    return parsed


Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A registered name, or the path of a GGUF file.")]
Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        parser=_parser(parse_size, "size"),
        help="Limit of the worker's whole memory, such as 4GB or 1.5GiB; by default what the daemon can spare.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option("--context", metavar="TOKENS", min=1, max=2**32 - 1, help="Length of the context in tokens."),
]
WeightCacheLimit = Annotated[
    WeightCache | None,
    typer.Option(
        "--weight-cache",
        metavar="SIZE|PERCENT",
        parser=_parser(parse_weight_cache, "size or percentage"),
        help="How much of the streamable weights may stay in memory, such as 4GB or 25%.",
    ),
]
KeepAlive = Annotated[
    float | None,
    typer.Option(
        "--keep-alive",
        metavar="TIME",
        parser=_parser(parse_duration, "time"),
        help="How long it stays loaded after its last request, such as 10m, 1h30m or 0; -1 is for ever.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Make the result independent of the memory limit, bit for bit.")]
Tensors = Annotated[bool, typer.Option("--tensors", help="List every tensor too.")]


def load_options(
    memory_limit_bytes: int | None,
    context_tokens: int | None,
    weight_cache: WeightCache | None,
    exact: bool,
    pin: bool = False,
    keep_alive_seconds: float | None = None,
) -> control.LoadOptions:
    """The options as the daemon's message."""
    return control.LoadOptions(
        memory_limit_bytes=memory_limit_bytes or 0,
        context_tokens=context_tokens or 0,
        weight_cache_bytes=weight_cache.size_bytes if weight_cache else None,
        weight_cache_percent=weight_cache.percent if weight_cache else None,
        exact=exact,
        pin=pin,
        keep_alive_seconds=keep_alive_seconds,
    )
