"""Anonymous memory: committed memory is resident, and keeps its content."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import psutil
import pytest

from hypura.v1 import placement_pb2 as pb
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.pool import Pool, commit
from tests.worker.plans import make_plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked for memory ahead of its use")


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def test_committed_memory_is_there_and_keeps_what_it_held() -> None:
    size = 200 << 20
    first, second = Pool(size), Pool(size)
    first.bytes[12345] = 7
    told: list[float] = []
    before = _resident_bytes()
    assert commit([(first, size), (second, size // 2)], told.append)
    assert 290 << 20 < _resident_bytes() - before < 330 << 20, "all of one and half of the other"
    assert first.bytes[12345] == 7
    assert told == sorted(told) and told[-1] == 1 and len(told) >= 4


def test_memory_that_the_system_refuses_is_reported() -> None:
    """Keeps out a benchmark whose memory was never touched."""
    pool = Pool(1 << 20)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(pool.address), 1 << 20, mmap.PROT_READ) == 0
    assert not commit([(pool, 1 << 20)])


def test_slots_are_there_when_the_model_is_loaded(moe_model: Path) -> None:
    """Keeps out a first prompt that waits for a virtual machine's host; and progress that stops before the end."""
    plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=12)
    shares: list[float] = []
    model = LlamaModel(plan, shares.append)
    model.close()
    assert shares == sorted(shares) and shares[-1] == 1
