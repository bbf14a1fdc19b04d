"""A contest: hypura and stock llama.cpp run in turns, each run in a cgroup of its own with empty caches.

round 1:  hypura  mmap  no_mmap      empty caches ─► bandwidth ─► first touch ─► load ─► prompt ─► decode ─► bandwidth
round 2:  hypura  mmap  no_mmap
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypura.v1 import placement_pb2 as placement
from hypura_client.bench import cgroup
from hypura_client.bench.conditions import FirstTouch, empty_page_cache, touch
from hypura_client.bench.drive_sweep import bandwidth
from hypura_client.bench.measured_process import BenchProcess, Killed
from hypura_client.bench.measured_worker import BenchWorker
from hypura_client.bench.passage import PASSAGE
from hypura_client.bench.runs import Bounds, Question, Run
from hypura_client.bench.stock import Stock, measure
from hypura_client.errors import DaemonError, DeadlineExceeded, InvalidRequest

Tell = Callable[[str], None]
_STREAMING = (placement.MODE_EXPERT_STREAMING, placement.MODE_DENSE_STREAMING)


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that are compared. stock: it is llama.cpp by itself, with the plan's threads and context.

    container_limit_bytes: its cgroup's; None for no limit.
    """

    name: str
    plan: placement.Plan
    container_limit_bytes: int | None
    stock: Stock | None = None

    @property
    def memory_bytes(self) -> int:
        """What it can make use of, the page cache included."""
        most = self.plan.memory_limit_bytes if self.stock is None else _all_resident_bytes(self.plan)
        return most if self.container_limit_bytes is None else min(most, self.container_limit_bytes)

    @property
    def environment(self) -> dict[str, str]:
        """As the daemon sets it: huge pages, OpenMP's waiting as planned unless the user's environment says, and
        graphs of nodes whose weights move must not be replayed."""
        graphs = self.plan.gpu_layers > 0 and self.plan.mode in _STREAMING
        pages = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}
        waiting = {"GOMP_SPINCOUNT": str(self.plan.spin_count)} if self.plan.HasField("spin_count") else {}
        if os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
            waiting = {}
        return pages | waiting | ({"GGML_CUDA_DISABLE_GRAPHS": "1"} if graphs else {})


def fits(plan: placement.Plan, available_bytes: int) -> bool:
    """Whether all of the model could be resident, with room for its buffers and the rest of the system."""
    return _all_resident_bytes(plan) <= 0.85 * available_bytes


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of every run. decode_seconds bounds its decoding, whatever the tokens."""

    prompt_tokens: int
    max_tokens: int
    temperature: float
    seed: int
    rounds: int
    bounds: Bounds


@dataclass(slots=True)
class Results:
    """What the runs of each contender measured; failures: why one has none. Filled as the campaign goes on."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    caches_dropped: str = ""
    cgroup: str = ""
    no_cgroup: str = ""
    prompt_ids: tuple[int, ...] = ()
    first_touches: list[FirstTouch] = field(default_factory=list)


def contest(contenders: Sequence[Contender], order: Order, tell: Tell) -> Results:
    """Run them all. A contender that is killed or fails has no further runs.

    Raises InvalidRequest when the prompt does not fit, and whatever keeps the first contender from running.
    """
    results = Results()
    for number in range(order.rounds):
        for contender in contenders:
            done = results.runs.setdefault(contender.name, [])
            if contender.name in results.failures or (done and done[-1].killed):
                continue
            tell(f"run {number + 1} of {order.rounds}: {contender.name}")
            try:
                done.append(_run(contender, order, results, tell))
            except (DaemonError, DeadlineExceeded) as error:
                if contender is contenders[0]:
                    raise
                results.failures[contender.name] = str(error)
                tell(f"  {contender.name}: {error}")
    return results


def _run(contender: Contender, order: Order, results: Results, tell: Tell) -> Run:
    files = [Path(file.path) for file in contender.plan.files]
    results.caches_dropped = empty_page_cache(files)
    streams = contender.stock is None and contender.plan.streamed_bytes > 0
    before = bandwidth(files[0]) if streams else None
    _touch(contender, results, tell)
    cage = _cage(contender, results)
    try:
        run = _one(contender, order, results, cage.prefix if cage else (), tell)
        peak = cage.peak_bytes() if cage else None
    except Killed:
        tell(f"  {contender.name} was killed: its memory ran out")
        return Run(killed=True)
    finally:
        if cage is not None:
            cage.remove()
    measured = [value for value in (before, bandwidth(files[0]) if streams else None) if value is not None]
    drive = sum(measured) / len(measured) if measured else None
    if drive is not None and run.read_bytes and run.token_seconds:
        drive = max(drive, run.read_bytes / run.token_seconds)  # It gave at least what the run took from it.
    if run.token_seconds is not None:
        tell(f"  {1 / run.token_seconds:.3g} tok/s, first token after {run.ttft_seconds or 0:.1f} s")
    return replace(
        run,
        peak_bytes=run.peak_bytes or peak,
        drive_bytes_per_second=drive,
    )


def _touch(contender: Contender, results: Results, tell: Tell) -> None:
    """Have the machine ready to give the run its memory. In a cgroup of its own: the run's must not count it."""
    tell("  touching the run's memory, which a virtual machine's host may be slow to give")
    cage = _cage(contender, results)
    try:
        touched = touch(contender.memory_bytes, cage.prefix if cage else ())
    finally:
        if cage is not None:
            cage.remove()
    if touched is not None:
        results.first_touches.append(touched)


def _cage(contender: Contender, results: Results) -> cgroup.MemoryCgroup | None:
    if contender.container_limit_bytes is None:
        return None
    try:
        made = cgroup.make(contender.container_limit_bytes)
    except cgroup.NoCgroup as error:
        results.no_cgroup = str(error)
        return None
    results.cgroup = made.kind
    return made


def _one(contender: Contender, order: Order, results: Results, prefix: Sequence[str], tell: Tell) -> Run:
    def question() -> Question:
        ours = next((run.token_ids for run in results.runs.get("hypura", ()) if run.token_ids), ())
        return Question(results.prompt_ids, order.max_tokens, order.temperature, order.seed, ours)

    if contender.stock is not None:
        with BenchProcess("hypura_worker.tools.baseline", prefix, {}) as process:
            return measure(process, contender.plan, contender.stock, question(), order.bounds)
    with BenchProcess("hypura_worker", prefix, contender.environment) as process, BenchWorker(process) as worker:
        began = time.monotonic()
        worker.load(contender.plan, order.bounds.load_seconds)
        load_seconds = time.monotonic() - began
        if not results.prompt_ids:
            results.prompt_ids = _prompt(worker.tokenize(PASSAGE), contender.plan, order)
        tell(f"  loaded in {load_seconds:.1f} s; a prompt of {len(results.prompt_ids)} tokens, then {order.max_tokens}")
        return worker.ask(question(), order.bounds, load_seconds)


def _prompt(passage: Sequence[int], plan: placement.Plan, order: Order) -> tuple[int, ...]:
    """So many tokens of the passage, which is repeated if it is too short."""
    if order.prompt_tokens + order.max_tokens > plan.context_tokens:
        raise InvalidRequest(
            f"a prompt of {order.prompt_tokens} tokens and {order.max_tokens} more do not fit the context of "
            f"{plan.context_tokens}; ask for fewer with --prompt-tokens and --tokens, or for more with --context"
        )
    if not passage:
        raise InvalidRequest("the model's tokenizer makes nothing of English text; it cannot be benchmarked with it")
    repeats = -(-order.prompt_tokens // len(passage))
    return tuple((list(passage) * repeats)[: order.prompt_tokens])


def _all_resident_bytes(plan: placement.Plan) -> int:
    beside = sum(item.size_bytes for item in plan.memory if item.name not in ("weights", "expert slots", "ring"))
    return int(plan.model_bytes + beside)
