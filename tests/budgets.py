"""Loads a model at many budgets, from the least that is planned up: each must load, answer, and keep to its limit.

    python -m tests.budgets MODEL.gguf ... [--budgets 40] [--exact] [--weight-cache PERCENT]

prints a line per budget and one per model. A budget's worker is a process as the daemon starts one; it loads the plan,
answers a prompt, and its peak of resident memory is read from the system before it ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import grpc

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.errors import BudgetTooSmall
from hypura_daemon.hardware.profile import DriveProfile, HardwareProfile
from hypura_daemon.models.model import Model, open_model
from hypura_daemon.planning.plan import LoadRequest, Mode, Plan
from hypura_daemon.planning.planner import plan
from hypura_daemon.planning.wire import plan_to_proto
from tests.worker.process import load, worker

TOLERANCE_BYTES = 4_000_000
"""What a worker may have above its limit: pages of libraries that an answer touches first, and allocators' slack."""
_ANSWER_TOKENS = 12
_BEYOND_RESIDENT = 1.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one budget: error is empty when it loaded and answered."""

    memory_limit_bytes: int
    mode: str
    peak_bytes: int
    resident_bytes: int
    places: int
    error: str

    @property
    def kept(self) -> bool:
        """Whether it loaded, answered and kept to its limit."""
        return not self.error and self.peak_bytes <= self.memory_limit_bytes + TOLERANCE_BYTES


@cache
def machine() -> HardwareProfile:
    """Two cores and a drive that is read in whole pages; what a worker has before it loads anything is measured."""
    measured = subprocess.run(
        [sys.executable, "-c", "from hypura_worker.tools.probe import worker_base_bytes; print(worker_base_bytes())"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    drive = DriveProfile(
        mount="/", device="drive", filesystem="ext4", direct=True, offset_alignment_bytes=4096,
        memory_alignment_bytes=4096, best_block_bytes=1 << 20, best_queue_depth=4, bytes_per_second=1.5e9,
        measured_at_seconds=1.0,
    )  # fmt: skip
    gigabytes = 64_000_000_000
    return HardwareProfile(
        cpu="test", physical_cores=2, usable_cores=2, memory_total_bytes=gigabytes, container_limit_bytes=gigabytes,
        memory_available_bytes=gigabytes, memory_bytes_per_second=20e9, page_bytes=4096,
        worker_base_bytes=int(measured.stdout), drives=(drive,),
    )  # fmt: skip


def planned(model: Model, request: LoadRequest) -> Plan:
    """Raises BudgetTooSmall."""
    hardware = machine()
    return plan(model, hardware, hardware.drives[0], request)


def budgets(model: Model, request: LoadRequest, count: int) -> list[int]:
    """So many budgets from the least that is planned to a little more than all of the model takes."""
    least = low = _least(model, request)
    high = 2 * least
    while planned(model, _with(request, high)).mode is not Mode.RESIDENT and high < 64 * least:
        low, high = high, 2 * high
    while high - low > 1_000_000:
        middle = (low + high) // 2
        resident = planned(model, _with(request, middle)).mode is Mode.RESIDENT
        low, high = (low, middle) if resident else (middle, high)
    most = int(high * _BEYOND_RESIDENT)
    return [least + (most - least) * step // max(1, count - 1) for step in range(count)]


def run(made: Plan, folder: Path, prefix: Sequence[str] = (), *, prompt_tokens: int = 200) -> Outcome:
    """Load the plan in a worker, have it answer, and see what it took; prefix: a command that runs the worker."""
    limit, mode = made.memory_limit_bytes, made.mode.value
    with worker(folder, prefix) as (process, stub):
        status = Path(f"/proc/{process.pid}/status")
        try:
            loaded = load(stub, plan_to_proto(made))
            limits = inference_pb2.Limits(max_tokens=_ANSWER_TOKENS, ignore_eos=True, truncate=True)
            vocabulary = loaded.vocabulary_tokens
            request = worker_pb2.WorkerGenerateRequest(
                request_id="budget",
                prompt_ids=inference_pb2.TokenIds(ids=[17 * i % min(vocabulary, 90) for i in range(prompt_tokens)]),
                sampling=inference_pb2.Sampling(temperature=0.0),
                limits=limits,
            )
            for _ in stub.Generate(request, timeout=120):
                pass
        except grpc.RpcError as error:
            return Outcome(limit, mode, _field(status, "VmHWM"), _field(status, "VmRSS"), 0, str(error.details()))
        return Outcome(limit, mode, _field(status, "VmHWM"), _field(status, "VmRSS"), loaded.slots, "")


def sweep(path: Path, count: int, request: LoadRequest) -> list[Outcome]:
    """Every budget of a model, each printed as it is known."""
    model = open_model(path, path.stem)
    outcomes = []
    for memory_limit_bytes in budgets(model, request, count):
        made = planned(model, _with(request, memory_limit_bytes))
        with tempfile.TemporaryDirectory(prefix="hypura-") as folder:
            outcome = run(made, Path(folder))
        outcomes.append(outcome)
        over = (outcome.peak_bytes - outcome.memory_limit_bytes) / 1e6
        print(
            f"{path.stem:20} {outcome.memory_limit_bytes / 1e6:8.1f} MB {outcome.mode:16}"
            f" peak {outcome.peak_bytes / 1e6:8.1f} ({over:+7.1f}), then {outcome.resident_bytes / 1e6:8.1f},"
            f" places {outcome.places:4}{'' if outcome.kept else ' FAILED ' + outcome.error}",
            flush=True,
        )
    return outcomes


def _least(model: Model, request: LoadRequest) -> int:
    try:
        planned(model, _with(request, 1_000_000))
    except BudgetTooSmall as error:
        return error.required_bytes
    raise ValueError(f"{model.name} does not stream, so no budget is too small for it")


def _with(request: LoadRequest, memory_limit_bytes: int) -> LoadRequest:
    return replace(request, memory_limit_bytes=memory_limit_bytes)


def _field(status: Path, name: str) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code is 0 when every budget was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.budgets", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--budgets", type=int, default=40)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--weight-cache", type=float, default=None, metavar="PERCENT")
    options = parser.parse_args(arguments)
    failed = 0
    for path in options.models:
        request = LoadRequest(
            context_tokens=options.context, exact=options.exact, weight_cache_percent=options.weight_cache
        )
        outcomes = sweep(path, options.budgets, request)
        bad = [outcome for outcome in outcomes if not outcome.kept]
        failed += len(bad)
        worst = max(outcome.peak_bytes - outcome.memory_limit_bytes for outcome in outcomes)
        print(
            f"{path.stem}: {len(outcomes) - len(bad)} of {len(outcomes)} kept; at most {worst / 1e6:+.1f} MB",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
