"""Streams random models with everything resident on a GPU and compares with the CPU: run it where there is one.

    python -m tests.worker.gpu_check

A GPU's low bits differ from a CPU's, so the logits are held to a cosine, not to equality.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ["GGML_CUDA_DISABLE_GRAPHS"] = "1"

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker import runtime
from hypura_worker.tools import probe
from tests.models.random_architectures import write_random_model
from tests.worker.passes import all_logits
from tests.worker.plans import make_plan
from tests.worker.streaming import test_failures

ARCHITECTURES = (("qwen3moe", True), ("gpt-oss", True), ("deepseek2", True), ("qwen3next", True), ("llama", False))
LEAST_COSINE = 0.99999
ALL_LAYERS = 99


def on_gpu(path: Path, mode: int, **options: object) -> pb.Plan:
    """A plan with every resident layer offloaded."""
    plan = make_plan(path, mode, **options)  # type: ignore[arg-type]
    plan.gpu_layers = ALL_LAYERS
    return plan


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """1 for the same direction."""
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def check(path: Path, moe: bool) -> bool:
    """Whether every way to run the model gives the CPU's logits."""
    tokens = [int(t) for t in np.random.default_rng(7).integers(0, 100, 28)]
    direct = {"ubatch_tokens": 2, "offset_alignment": 4096, "memory_alignment": 4096}
    expected = all_logits(make_plan(path, pb.MODE_RESIDENT, ubatch_tokens=2), tokens, 12)
    plans = {"resident": on_gpu(path, pb.MODE_RESIDENT, ubatch_tokens=2)}
    for everything in (False, True):
        plans[f"layers, all matrices {everything}"] = on_gpu(
            path, pb.MODE_DENSE_STREAMING, everything=everything, **direct
        )
    for slots in (4, 8, None) if moe else ():
        plans[f"experts, {slots or 'all'} slots"] = on_gpu(path, pb.MODE_EXPERT_STREAMING, slots=slots, **direct)
    found = {name: cosine(expected, all_logits(plan, tokens, 12)) for name, plan in plans.items()}
    for name, value in found.items():
        print(f"  {name}: cosine {value:.7f}{'' if value >= LEAST_COSINE else '  TOO LOW'}")
    return min(found.values()) >= LEAST_COSINE


def main() -> int:
    """The exit code is 0 when all is well."""
    runtime.configure_log("error", "check")
    gpus = probe.gpus()
    if not gpus:
        print("llama.cpp finds no GPU here; install llama-cpp-python with its backend")
        return 2
    print(", ".join(gpu.description for gpu in gpus))
    well = True
    with tempfile.TemporaryDirectory(prefix="hypura-gpu-") as name, pytest.MonkeyPatch.context() as patch:
        folder, paths = Path(name), {}
        for architecture, moe in ARCHITECTURES:
            paths[architecture] = folder / f"{architecture}.gguf"
            # Without expert scales: with them the planner offloads nothing.
            write_random_model(architecture, moe, paths[architecture], scales=False)
            print(architecture)
            well = check(paths[architecture], moe) and well
        patch.setattr(test_failures, "make_plan", on_gpu)
        test_failures.test_a_failed_read_ends_only_the_requests_that_need_it(paths["qwen3moe"], folder)
        test_failures.test_a_failed_layer_ends_the_request_and_the_next_is_right(paths["llama"], folder)
        print("failed reads end what they hit, and nothing else")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
