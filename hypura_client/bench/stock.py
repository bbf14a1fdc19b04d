"""Stock llama.cpp as it runs: asked in one line, heard token by token, ended when its time is over.

What it says of a token is its own clock's, so that our waking up costs it nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from hypura.v1 import placement_pb2 as placement
from hypura_client.bench.measured_process import BenchProcess, Usage
from hypura_client.bench.runs import Bounds, Question, Run, less
from hypura_client.errors import WorkerFailed

UBATCH_TOKENS = 512
"""llama.cpp's own default: a smaller one, as a tight budget may plan, would hobble its prompts."""


@dataclass(frozen=True, slots=True)
class Stock:
    """How llama.cpp is run. extra_buffers: weights may be repacked, which ends their being mapped."""

    mmap: bool
    extra_buffers: bool


def measure(process: BenchProcess, plan: placement.Plan, stock: Stock, question: Question, bounds: Bounds) -> Run:
    """Load, read the prompt and decode with the plan's threads, context and KV cache.

    Raises Killed, WorkerDied, or WorkerFailed when it loads too slowly or refuses.
    """
    process.send(json.dumps(request(plan, stock, question)).encode() + b"\n")
    try:
        loaded = _heard(process, bounds.load_seconds)
    except TimeoutError as error:
        raise WorkerFailed(f"llama.cpp did not load within {bounds.load_seconds:g} s") from error
    said: list[dict[str, Any]] = []
    usage: list[Usage] = []
    left, cut = bounds.prefill_seconds, False
    while len(said) < question.max_tokens and not cut:
        try:
            said.append(_heard(process, left))
        except TimeoutError:
            cut = True
            continue
        if len(said) == 1 or len(said) == question.max_tokens - 1:
            usage.append(process.usage())
        left = max(0.001, bounds.decode_seconds - (said[-1]["seconds"] - said[0]["seconds"]))
    if cut and said:
        usage.append(process.usage())
    run = Run(
        cut=cut,
        load_seconds=loaded["loaded"],
        prompt_tokens=len(question.prompt_ids),
        token_ids=tuple(token["token"] for token in said),
        ttft_seconds=said[0]["seconds"] if said else None,
    )
    if len(said) < 2:
        return run
    first, last, decoded = usage[0], usage[-1], len(said) - 1
    seconds = (said[-1]["seconds"] - said[0]["seconds"]) / decoded
    read = less(last.read_bytes, first.read_bytes)
    return replace(
        run,
        token_seconds=seconds,
        compute_seconds=None if stock.mmap else seconds,  # page faults look like computing
        stall_seconds=None if stock.mmap else 0.0,
        system_seconds=(said[-1]["system"] - said[0]["system"]) / decoded,
        read_bytes=None if read is None else read / decoded,
        written_bytes=less(last.written_bytes, first.written_bytes),
        others_share=first.others_share(last),
    )


def request(plan: placement.Plan, stock: Stock, question: Question) -> dict[str, Any]:
    """What hypura_worker.tools.baseline is asked."""
    return {
        "paths": [file.path for file in plan.files],
        "mmap": stock.mmap,
        "extra_buffers": stock.extra_buffers and not stock.mmap and not plan.exact,
        "gpu_layers": plan.gpu_layers,
        "context_tokens": plan.context_tokens,
        "ubatch_tokens": plan.ubatch_tokens if plan.exact else min(UBATCH_TOKENS, plan.context_tokens),
        "threads": plan.threads,
        "batch_threads": plan.batch_threads,
        "kv_type_k": plan.kv_type_k,
        "kv_type_v": plan.kv_type_v,
        "prompt_ids": list(question.prompt_ids),
        "following_ids": list(question.following_ids),
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "seed": question.seed,
    }


def _heard(process: BenchProcess, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.line(seconds))
    if "error" in found:
        raise WorkerFailed(str(found["error"]))
    return found
