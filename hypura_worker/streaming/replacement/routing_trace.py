"""Recorded routings: which experts every token chose in every layer, as a CSV file.

    # route_trace v1
    # model=… arch=qwen3moe n_layer=48 n_expert=128 n_expert_used=8
    # layer=0 expert_bytes=3059712 dense_bytes=11953152
    turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
    0,0,0,0,0,49,0.1931,0,3059712

phase 0 is the prompt, layer by layer, 1 is decode; a step is a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from hypura_worker.streaming.replacement.policy import Ids

HEADER = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes"
_PAIR = re.compile(r"(n_layer|n_expert_used|n_expert|layer|expert_bytes)=(\d{1,18})(?!\d)")
_MAX_LAYERS, _MAX_EXPERTS, _MAX_PER_TOKEN = 1024, 65_536, 1024
_MAX_LINE_CHARACTERS = 4096
_FIELDS = HEADER.count(",") + 1


class BadTrace(ValueError):
    """The file is not a usable trace; the message says which line and why."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One layer's choices in one pass: experts [tokens, per token]."""

    decode: bool
    layer: int
    experts: Ids


@dataclass(frozen=True, slots=True)
class Routes:
    """A recorded run. expert_bytes: the largest expert's, which every slot has room for."""

    layers: int
    experts: int
    per_token: int
    expert_bytes: int
    visits: tuple[Visit, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of a line that a replay needs."""

    pass_: tuple[int, int, int]
    token: tuple[int, int, int, int]
    layer: int
    expert: int
    expert_bytes: int


def read_routes(path: Path) -> Routes:
    """The trace in a file. Raises BadTrace, or OSError when it cannot be read."""
    limits = {"n_layer": _MAX_LAYERS, "n_expert": _MAX_EXPERTS}
    expert_bytes = 0
    visits: list[Visit] = []
    tokens: list[list[int]] = []
    last: _Row | None = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in _lines(file):
            if line.startswith("#"):
                found = {name: int(value) for name, value in _PAIR.findall(line)}
                expert_bytes = max(expert_bytes, found.get("expert_bytes", 0))
                for name in limits.keys() & found.keys():
                    limits[name] = min(max(1, found[name]), limits[name])
                continue
            if line.startswith("turn,") or not line.strip():
                continue
            row = _row(line, number, limits["n_layer"], limits["n_expert"])
            if last is not None and row.pass_ != last.pass_:
                visits.append(_visit(last, tokens, number))
                tokens = []
            if last is None or row.token != last.token or not tokens:
                tokens.append([])
            tokens[-1].append(row.expert)
            if len(tokens[-1]) > _MAX_PER_TOKEN:
                raise BadTrace(f"line {number}: one token chooses more than {_MAX_PER_TOKEN} experts of a layer")
            expert_bytes = max(expert_bytes, row.expert_bytes)
            last = row
    if last is None:
        raise BadTrace("it holds no choices; record one with `hypuractl trace record`")
    visits.append(_visit(last, tokens, number))
    if expert_bytes == 0:
        raise BadTrace("it does not say how large an expert is; add a line `# layer=0 expert_bytes=…`")
    experts = max(int(visit.experts.max()) for visit in visits) + 1
    return Routes(
        layers=max(visit.layer for visit in visits) + 1,
        experts=max(experts, limits["n_expert"] if limits["n_expert"] < _MAX_EXPERTS else 0),
        per_token=max(visit.experts.shape[1] for visit in visits),
        expert_bytes=expert_bytes,
        visits=tuple(visits),
    )


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """The numbered lines, none of them longer than a line of a trace can be."""
    number = 0
    while line := file.readline(_MAX_LINE_CHARACTERS):
        number += 1
        if len(line) == _MAX_LINE_CHARACTERS:
            raise BadTrace(f"line {number} is longer than {_MAX_LINE_CHARACTERS} characters; this is not a trace")
        yield number, line


def _row(line: str, number: int, layers: int, experts: int) -> _Row:
    fields = line.rstrip("\n").split(",")
    if len(fields) < 6:
        raise BadTrace(f"line {number}: {len(fields)} fields, where at least 6 of {HEADER} are needed")
    try:
        turn, phase, step, layer, _, expert = (int(field) for field in fields[:6])
        expert_bytes = int(fields[_FIELDS - 1]) if len(fields) >= _FIELDS else 0
    except ValueError as error:
        raise BadTrace(f"line {number}: {line.strip()[:80]!r} holds something that is not a whole number") from error
    if phase not in (0, 1):
        raise BadTrace(f"line {number}: phase {phase}; 0 is the prompt, 1 is decode")
    if not 0 <= layer < layers:
        raise BadTrace(f"line {number}: layer {layer}, where the trace has {layers}")
    if not 0 <= expert < experts:
        raise BadTrace(f"line {number}: expert {expert}, where each layer has {experts}")
    if not 0 <= expert_bytes <= 1 << 50:
        raise BadTrace(f"line {number}: an expert of {expert_bytes} bytes")
    # The layer separates the passes of a prompt; a decoded token is a pass of its own.
    pass_ = (turn, layer, -1 if phase == 0 else step)
    return _Row(pass_, (turn, phase, step, layer), layer, expert, expert_bytes)


def _visit(row: _Row, tokens: list[list[int]], number: int) -> Visit:
    width = len(tokens[0])
    if any(len(token) != width for token in tokens):
        raise BadTrace(f"before line {number}: tokens of one pass choose different numbers of experts")
    return Visit(row.pass_[2] >= 0, row.layer, np.array(tokens, np.int64))
