"""Who runs: hypura by its plan, and stock llama.cpp of the same build beside it. No effects."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypura.v1 import placement_pb2 as placement
from hypura_client.bench.stock import Stock

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


def _all_resident_bytes(plan: placement.Plan) -> int:
    beside = sum(item.size_bytes for item in plan.memory if item.name not in ("weights", "expert slots", "ring"))
    return int(plan.model_bytes + beside)
