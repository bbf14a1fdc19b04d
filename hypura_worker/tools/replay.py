"""Replays recorded routings against a cache of slots: `python -m hypura_worker.tools.replay FILE`.

Hits are counted as the engine counts them: distinct experts per visit of a layer, all of which
must be held at once, while decoding. The prompt only fills the cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypura.v1.tools_pb2 import ReplayLine, ReplayReport
from hypura_worker import runtime
from hypura_worker.streaming.replacement import DEFAULT, POLICIES, make
from hypura_worker.streaming.replacement.policy import Ids, Policy, Shape
from hypura_worker.streaming.replacement.routing_trace import BadTrace, Routes, read_routes

_MAX_MIB = 1 << 30
_NEVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Step:
    """The experts that one visit of a layer needs at once: chosen [tokens, per token], and the distinct ones."""

    decode: bool
    layer: int
    chosen: Ids
    distinct: Ids


def steps(routes: Routes, slots: int) -> Iterator[Step]:
    """The visits; those of a prompt are cut as an engine cuts them whose slots hold only so many experts.

    Raises ValueError when not even one token's choice fits.
    """
    if slots < routes.per_token:
        least_mib = -(-routes.per_token * routes.expert_bytes // (1 << 20))
        raise ValueError(f"the cache holds {slots} experts and a token chooses {routes.per_token}; use {least_mib} MiB")
    for visit in routes.visits:
        first = 0
        while first < len(visit.experts):
            last = first + 1
            distinct = np.unique(visit.experts[first:last])
            while last < len(visit.experts):
                more = np.union1d(distinct, visit.experts[last])
                if len(more) > slots:
                    break
                distinct, last = more, last + 1
            yield Step(visit.decode, visit.layer, visit.experts[first:last], distinct)
            first = last


def hit_rate(routes: Routes, slots: int, policy: Policy) -> float:
    """Share of decode choices found in a cache of so many slots, 0 to 1."""
    hits = total = held = 0
    for step in steps(routes, slots):
        found = policy.held[step.layer, step.distinct]
        if step.decode:
            hits += int(found.sum())
            total += len(found)
        policy.visit(step.layer, step.chosen)
        missing = step.distinct[~found].tolist()
        keep = [(step.layer, expert) for expert in step.distinct.tolist()]
        for key in policy.victims(step.layer, held + len(missing) - slots, keep):
            policy.evicted(key)
            held -= 1
        for expert in missing:
            policy.admitted((step.layer, expert))
        held += len(missing)
    return hits / total if total else 0.0


def belady(routes: Routes, slots: int) -> float:
    """The same with the future known: what is used again last is replaced (Belady's algorithm).

    Optimal for this cache: every miss is read, as the engine must, and what a visit chose may be
    replaced first afterwards, which is as good as not keeping it.
    """
    path = list(steps(routes, slots))
    following: list[npt.NDArray[np.int64]] = []
    next_visit = np.full((routes.layers, routes.experts), _NEVER, np.int64)
    for index in range(len(path) - 1, -1, -1):
        step = path[index]
        following.append(next_visit[step.layer, step.distinct])
        next_visit[step.layer, step.distinct] = index
    following.reverse()
    next_use = np.full((routes.layers, routes.experts), -1, np.int64)  # -1: not held
    hits = total = held = 0
    for step, later in zip(path, following, strict=True):
        found = next_use[step.layer, step.distinct] >= 0
        if step.decode:
            hits += int(found.sum())
            total += len(found)
        held += len(found) - int(found.sum())
        next_use[step.layer, step.distinct] = -1
        over = held - slots
        if over > 0:
            farthest = np.argpartition(next_use.reshape(-1), -over)[-over:]
            next_use.reshape(-1)[farthest] = -1
            held -= over
        next_use[step.layer, step.distinct] = later
    return hits / total if total else 0.0


def compare(routes: Routes, cache_bytes: int, names: Sequence[str] = tuple(POLICIES)) -> ReplayReport:
    """The report: decode hit rates in percent, Belady's included. Raises ValueError for too small a cache."""
    slots = min(cache_bytes // routes.expert_bytes, routes.layers * routes.experts)
    shape = Shape(routes.layers, routes.experts, routes.per_token, slots)
    rates = {name: hit_rate(routes, slots, make(name, shape)) for name in names}
    rates["belady"] = belady(routes, slots)
    return ReplayReport(
        policies={name: round(100 * rate, 2) for name, rate in rates.items()},
        default=DEFAULT,
        slots=slots,
        tokens_held=round(shape.tokens_held, 3),
        expert_bytes=routes.expert_bytes,
        decode_visits=sum(visit.decode for visit in routes.visits),
    )


def main(arguments: Sequence[str]) -> int:
    """Print the report as one JSON object; 1 and a line with "error" when there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cache-mib", type=float, required=True)
    options = parser.parse_args(arguments)
    if not 0 < options.cache_mib <= _MAX_MIB:
        parser.error(f"--cache-mib must be above 0 and at most {_MAX_MIB}, not {options.cache_mib}")
    try:
        report = compare(read_routes(options.file), int(options.cache_mib * (1 << 20)))
    except BadTrace as error:
        return _print_error(f"{options.file} is not a usable trace: {error}")
    except OSError as error:
        return _print_error(f"{options.file} cannot be read: {error.strerror or error}; check the path")
    except ValueError as error:
        return _print_error(str(error))
    runtime.write_line(ReplayLine(report=report))
    return 0


def _print_error(message: str) -> int:
    runtime.write_line(ReplayLine(error=message))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
