"""Streams one model at several budgets and compares its logits with the resident run's, bit for bit.

    python -m tests.worker.lossless MODEL.gguf expert|dense

prints one JSON object: {"cases": {name: "equal" or what differs}}. A process of its own per
model: llama.cpp aborts the process on what it does not like.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp  # noqa: F401 - before numpy
import numpy as np

from hypura.v1 import placement_pb2 as pb
from hypura_worker import runtime
from tests.worker.passes import all_logits
from tests.worker.plans import make_plan

_VOCABULARY = 100
_TOKENS, _PROMPT = 28, 12
_UBATCH = 2
_EMBEDDING_CACHE_BYTES = 16 << 10
"""Four pages: rows come and go."""
_MOST_KEPT_BYTES = 1 << 20
"""Some of the tensors stay beside the ring, others go through it."""


def _expert_plans(path: Path, moe_top_k: int) -> Iterator[tuple[str, pb.Plan, int]]:
    """(name, plan, milliseconds by which its reads are late)."""
    least = moe_top_k * _UBATCH
    direct = _direct_alignment(path)
    # Other budgets for every architecture, the same in every run.
    drawn = random.Random(f"{path.stat().st_size}").sample(range(least, 8 * least), 2)
    for slots, late in ((least, 0), (least, 1), (least + 1, 0), (3 * least, 0), (None, 0), *((d, 1) for d in drawn)):
        rows = _EMBEDDING_CACHE_BYTES if slots != least else 0
        plan = make_plan(
            path,
            pb.MODE_EXPERT_STREAMING,
            slots=slots,
            ubatch_tokens=_UBATCH,
            embedding_cache_bytes=rows,
            **direct,
        )
        yield f"{slots or 'all'} slots, {rows} bytes of embeddings, direct, {late} ms late", plan, late
    # Every way for a slice to reach its slot, whatever this drive asks for.
    experts = make_plan(path, pb.MODE_EXPERT_STREAMING).experts.experts_per_layer
    ways = (("shifted", least + 2, 512, 4), ("bounced", least + 2, 4096, 4096), ("by class", experts + 3, 512, 512))
    for name, slots, offset, memory in ways:
        plan = make_plan(
            path,
            pb.MODE_EXPERT_STREAMING,
            slots=slots,
            ubatch_tokens=_UBATCH,
            offset_alignment=offset,
            memory_alignment=memory,
            direct=False,
        )
        yield f"{slots} slots, {name}", plan, 0


def _dense_plans(path: Path) -> Iterator[tuple[str, pb.Plan, int]]:
    direct = _direct_alignment(path)
    for everything in (False, True):
        for depth in (2, 3):
            for pinned in ((), (1,)):
                plan = make_plan(
                    path,
                    pb.MODE_DENSE_STREAMING,
                    ring_depth=depth,
                    max_kept_bytes=_MOST_KEPT_BYTES if depth == 3 else 0,
                    pinned=pinned,
                    everything=everything,
                    ubatch_tokens=_UBATCH,
                    embedding_cache_bytes=_EMBEDDING_CACHE_BYTES if depth == 3 else 0,
                    **direct,
                )
                if any(tensor.role == pb.TENSOR_ROLE_DENSE_FFN for tensor in plan.tensors):
                    kind = "all matrices" if everything else "FFN"
                    yield f"{kind}, ring {depth}, pinned {pinned}", plan, 0


def _direct_alignment(path: Path) -> dict[str, Any]:
    """4096 works for every file system that has direct reads at all."""
    flags = os.O_RDONLY | getattr(os, "O_DIRECT", 0)
    try:
        os.close(os.open(path, flags))
    except OSError:
        return {"direct": False}
    return {"offset_alignment": 4096, "memory_alignment": 4096}


def main() -> int:
    """Compare; the exit code is 0 when all cases are equal."""
    path, kind = Path(sys.argv[1]), sys.argv[2]
    runtime.configure_log("error", path.stem)
    tokens = [int(t) for t in np.random.default_rng(7).integers(0, _VOCABULARY, _TOKENS)]
    resident = make_plan(path, pb.MODE_RESIDENT, ubatch_tokens=_UBATCH)
    expected = all_logits(resident, tokens, _PROMPT)
    cases: dict[str, str] = {}
    if not np.isfinite(expected).all():
        cases["resident"] = "not finite"
    top_k = make_plan(path, pb.MODE_EXPERT_STREAMING).experts.experts_per_token
    for name, plan, late in _expert_plans(path, top_k) if kind == "expert" else _dense_plans(path):
        try:
            got = all_logits(plan, tokens, _PROMPT, late)
        except Exception as error:
            cases[name] = f"{type(error).__name__}: {error}"
            continue
        cases[name] = "equal" if np.array_equal(expected, got) else f"differs by {np.abs(expected - got).max():.3g}"
    print(json.dumps({"cases": cases}))
    return 0 if cases and all(found == "equal" for found in cases.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
