"""What models give back when other programs want memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.hardware.figures import Memory, Pressure
from hypura_daemon.scheduling.budget import default_budget_bytes
from hypura_daemon.scheduling.pressure import limited_bytes

GB = 1_000_000_000
SIZES = st.integers(0, 64 * GB)


def memory(available: int, total: int = 24 * GB) -> Memory:
    return Memory(total, total, available)


def test_models_alone_never_set_it_off() -> None:
    """With the whole default budget filled, what is left is the default's own reserve."""
    for total in (4 * GB, 24 * GB, 128 * GB):
        budget = default_budget_bytes(total, int(total * 0.9))
        left = memory(int(total * 0.9) - budget, total)
        assert limited_bytes(budget, budget, budget, left, Pressure.CRITICAL) == budget


def test_what_is_missing_of_the_reserve_is_given_at_once() -> None:
    reserve = int(24 * GB * 0.04)
    assert limited_bytes(20 * GB, 20 * GB, 12 * GB, memory(reserve - GB // 2), Pressure.CALM) == 12 * GB - GB // 2


def test_waiting_processes_count_only_where_memory_is_short() -> None:
    assert limited_bytes(20 * GB, 20 * GB, 10 * GB, memory(8 * GB), Pressure.CRITICAL) == 20 * GB
    assert limited_bytes(20 * GB, 20 * GB, 10 * GB, memory(GB + 1), Pressure.CRITICAL) == 8_500_000_000


def test_it_comes_back_when_the_others_are_gone() -> None:
    limit = 5 * GB
    for _ in range(10):
        limit = limited_bytes(limit, 20 * GB, 5 * GB, memory(15 * GB), Pressure.CALM)
    assert limit == 20 * GB


@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from(Pressure))
def test_it_stays_within_the_budget(limit: int, budget: int, held: int, available: int, pressure: Pressure) -> None:
    new = limited_bytes(min(limit, budget), budget, held, memory(available), pressure)
    assert 0 <= new <= budget
