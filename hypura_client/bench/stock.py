"""Stock llama.cpp, measured: one line of input, then a line of output per token, until the time runs out.

Each token has the time of llama.cpp's own process, so that our delays in reading do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypura.json_lines import from_line, to_line
from hypura.v1 import placement_pb2 as placement
from hypura.v1.tools_pb2 import BaselineLine, BaselineRequest, BaselineToken
from hypura_client.bench.measured_process import MeasuredProcess, Usage
from hypura_client.bench.runs import Run, TimeLimits, Workload, less
from hypura_client.errors import WorkerFailed

UBATCH_TOKENS = 512
"""llama.cpp's own default: a smaller one, as a plan for little memory may have, would slow its prompts down."""


@dataclass(frozen=True, slots=True)
class Stock:
    """How llama.cpp is run. extra_buffers: weights may be repacked, which excludes mapping them."""

    mmap: bool
    extra_buffers: bool


def measure(
    process: MeasuredProcess, plan: placement.Plan, stock: Stock, workload: Workload, limits: TimeLimits
) -> Run:
    """Loads the model, reads the prompt and decodes, with the plan's threads, context and KV cache.

    Raises Killed, WorkerDied, or WorkerFailed when it loads too slowly or refuses.
    """
    process.send(to_line(request(plan, stock, workload)).encode() + b"\n")
    try:
        loaded = _read_line(process, limits.load_seconds)
    except TimeoutError as error:
        raise WorkerFailed(f"llama.cpp did not load within {limits.load_seconds:g} s") from error
    tokens: list[BaselineToken] = []
    usage: list[Usage] = []
    left, cut = limits.prefill_seconds, False
    while len(tokens) < workload.max_tokens and not cut:
        try:
            tokens.append(_read_line(process, left).token)
        except TimeoutError:
            cut = True
            continue
        if len(tokens) == 1 or len(tokens) == workload.max_tokens - 1:
            usage.append(process.usage())
        left = max(0.001, limits.decode_seconds - (tokens[-1].seconds - tokens[0].seconds))
    if cut and tokens:
        usage.append(process.usage())
    run = Run(
        cut=cut,
        load_seconds=loaded.load_seconds,
        prompt_tokens=len(workload.prompt_ids),
        token_ids=tuple(token.id for token in tokens),
        ttft_seconds=tokens[0].seconds if tokens else None,
    )
    if len(tokens) < 2:
        return run
    first, last, decoded = usage[0], usage[-1], len(tokens) - 1
    seconds = (tokens[-1].seconds - tokens[0].seconds) / decoded
    read = less(last.read_bytes, first.read_bytes)
    return replace(
        run,
        token_seconds=seconds,
        compute_seconds=None if stock.mmap else seconds,  # page faults look like computing
        stall_seconds=None if stock.mmap else 0.0,
        system_seconds=(tokens[-1].system_seconds - tokens[0].system_seconds) / decoded,
        read_bytes=None if read is None else read / decoded,
        written_bytes=less(last.written_bytes, first.written_bytes),
        others_share=first.others_share(last),
    )


def request(plan: placement.Plan, stock: Stock, workload: Workload) -> BaselineRequest:
    """The request to hypura_worker.tools.baseline."""
    return BaselineRequest(
        paths=[file.path for file in plan.files],
        mmap=stock.mmap,
        extra_buffers=stock.extra_buffers and not stock.mmap and not plan.exact,
        gpu_layers=plan.gpu_layers,
        context_tokens=plan.context_tokens,
        ubatch_tokens=plan.ubatch_tokens if plan.exact else min(UBATCH_TOKENS, plan.context_tokens),
        threads=plan.threads,
        batch_threads=plan.batch_threads,
        kv_type_k=plan.kv_type_k,
        kv_type_v=plan.kv_type_v,
        prompt_ids=workload.prompt_ids,
        following_ids=workload.following_ids,
        max_tokens=workload.max_tokens,
        temperature=workload.temperature,
        seed=workload.seed,
    )


def _read_line(process: MeasuredProcess, seconds: float) -> BaselineLine:
    found = from_line(BaselineLine, process.line(seconds))
    if found.HasField("error"):
        raise WorkerFailed(found.error)
    return found
