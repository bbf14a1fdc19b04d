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
from hypura_client.bench.measured_process import Killed, MeasuredProcess
from hypura_client.bench.measured_worker import MeasuredWorker
from hypura_client.bench.passage import PASSAGE
from hypura_client.bench.runs import Run, TimeLimits, Workload
from hypura_client.bench.stock import Stock, measure
from hypura_client.errors import DaemonError, DeadlineExceeded, InvalidRequest

Note = Callable[[str], None]
_WEIGHT_KINDS = (placement.MEMORY_KIND_WEIGHTS, placement.MEMORY_KIND_EXPERT_SLOTS, placement.MEMORY_KIND_RING)
_STREAMING = (placement.MODE_EXPERT_STREAMING, placement.MODE_DENSE_STREAMING)


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those that are compared. stock: stock llama.cpp, with the plan's threads and context; None for hypura.

    container_limit_bytes: the limit of its cgroup; None for no limit.
    """

    name: str
    plan: placement.Plan
    container_limit_bytes: int | None
    stock: Stock | None = None

    @property
    def memory_bytes(self) -> int:
        """The most memory that it can use, including the page cache."""
        most = self.plan.memory_limit_bytes if self.stock is None else _all_resident_bytes(self.plan)
        return most if self.container_limit_bytes is None else min(most, self.container_limit_bytes)

    @property
    def environment(self) -> dict[str, str]:
        """What the daemon sets for its workers: huge pages, OpenMP's spinning as planned unless the user's environment
        sets it, and no replay of CUDA graphs where weights move."""
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
class Setup:
    """How a contest runs: what every run computes, in how many rounds, and within which times."""

    prompt_tokens: int
    max_tokens: int
    temperature: float
    seed: int
    rounds: int
    limits: TimeLimits


@dataclass(slots=True)
class Results:
    """What the runs of each contender measured, filled during the contest. failures: why a contender has no runs."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    caches_dropped: str = ""
    cgroup: str = ""
    no_cgroup: str = ""
    prompt_ids: tuple[int, ...] = ()
    first_touches: list[FirstTouch] = field(default_factory=list)


def contest(contenders: Sequence[Contender], setup: Setup, note: Note) -> Results:
    """Runs all contenders in turns. A contender that is killed or fails has no further runs.

    Raises InvalidRequest when the prompt does not fit, and what the first contender fails with.
    """
    results = Results()
    for number in range(setup.rounds):
        for contender in contenders:
            done = results.runs.setdefault(contender.name, [])
            if contender.name in results.failures or (done and done[-1].killed):
                continue
            note(f"run {number + 1} of {setup.rounds}: {contender.name}")
            try:
                done.append(_run(contender, setup, results, note))
            except (DaemonError, DeadlineExceeded) as error:
                if contender is contenders[0]:
                    raise
                results.failures[contender.name] = str(error)
                note(f"  {contender.name}: {error}")
    return results


def _run(contender: Contender, setup: Setup, results: Results, note: Note) -> Run:
    files = [Path(file.path) for file in contender.plan.files]
    results.caches_dropped = empty_page_cache(files)
    streams = contender.stock is None and contender.plan.streamed_bytes > 0
    before = bandwidth(files[0]) if streams else None
    _touch(contender, results, note)
    group = _cgroup(contender, results)
    try:
        run = _measured_run(contender, setup, results, group.prefix if group else (), note)
        peak = group.peak_bytes() if group else None
    except Killed:
        note(f"  {contender.name} was killed: it ran out of memory")
        return Run(killed=True)
    finally:
        if group is not None:
            group.remove()
    measured = [value for value in (before, bandwidth(files[0]) if streams else None) if value is not None]
    drive = sum(measured) / len(measured) if measured else None
    if drive is not None and run.read_bytes and run.token_seconds:
        drive = max(drive, run.read_bytes / run.token_seconds)  # The drive delivers at least what the run read.
    if run.token_seconds is not None:
        note(f"  {1 / run.token_seconds:.3g} tok/s, first token after {run.ttft_seconds or 0:.1f} s")
    return replace(
        run,
        peak_bytes=run.peak_bytes or peak,
        drive_bytes_per_second=drive,
    )


def _touch(contender: Contender, results: Results, note: Note) -> None:
    """Makes the machine give the run's memory, in another cgroup than the run's, which must not count it."""
    note("  touching the run's memory first, since a virtual machine's host may be slow to give it")
    group = _cgroup(contender, results)
    try:
        touched = touch(contender.memory_bytes, group.prefix if group else ())
    finally:
        if group is not None:
            group.remove()
    if touched is not None:
        results.first_touches.append(touched)


def _cgroup(contender: Contender, results: Results) -> cgroup.MemoryCgroup | None:
    if contender.container_limit_bytes is None:
        return None
    try:
        group = cgroup.make(contender.container_limit_bytes)
    except cgroup.NoCgroup as error:
        results.no_cgroup = str(error)
        return None
    results.cgroup = group.kind
    return group


def _measured_run(contender: Contender, setup: Setup, results: Results, prefix: Sequence[str], note: Note) -> Run:
    def workload() -> Workload:
        ours = next((run.token_ids for run in results.runs.get("hypura", ()) if run.token_ids), ())
        return Workload(results.prompt_ids, setup.max_tokens, setup.temperature, setup.seed, ours)

    if contender.stock is not None:
        with MeasuredProcess("hypura_worker.tools.baseline", prefix, {}) as process:
            return measure(process, contender.plan, contender.stock, workload(), setup.limits)
    with MeasuredProcess("hypura_worker", prefix, contender.environment) as process, MeasuredWorker(process) as worker:
        began = time.monotonic()
        worker.load(contender.plan, setup.limits.load_seconds)
        load_seconds = time.monotonic() - began
        if not results.prompt_ids:
            results.prompt_ids = _prompt(worker.tokenize(PASSAGE), contender.plan, setup)
        note(f"  loaded in {load_seconds:.1f} s; a prompt of {len(results.prompt_ids)} tokens, then {setup.max_tokens}")
        return worker.generate(workload(), setup.limits, load_seconds)


def _prompt(passage: Sequence[int], plan: placement.Plan, setup: Setup) -> tuple[int, ...]:
    """The first tokens of the passage, which is repeated if it is too short."""
    if setup.prompt_tokens + setup.max_tokens > plan.context_tokens:
        raise InvalidRequest(
            f"a prompt of {setup.prompt_tokens} tokens and {setup.max_tokens} more do not fit the context of "
            f"{plan.context_tokens}; ask for fewer with --prompt-tokens and --tokens, or for more with --context"
        )
    if not passage:
        raise InvalidRequest(
            "the model's tokenizer makes no tokens from English text, so the model cannot be benchmarked"
        )
    repeats = -(-setup.prompt_tokens // len(passage))
    return tuple((list(passage) * repeats)[: setup.prompt_tokens])


def _all_resident_bytes(plan: placement.Plan) -> int:
    buffers_bytes = sum(item.size_bytes for item in plan.memory if item.kind not in _WEIGHT_KINDS)
    return int(plan.model_bytes + buffers_bytes)
