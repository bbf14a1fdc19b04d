"""The default budget, the limit under memory pressure, and how models shrink and grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.platforms.platform import Memory, Pressure
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.scheduling.memory import (
    LEAST_STEP_SHARE,
    budget_under_pressure,
    default_memory_budget_bytes,
    giveable_bytes,
    grown_limits,
    shrunk_limits,
)


@st.composite
def held(draw: st.DrawFn) -> list[Holder]:
    holders = []
    for number in range(draw(st.integers(0, 5))):
        memory = draw(st.integers(1, 10**12))
        giveable, usable = draw(st.integers(0, memory)), draw(st.integers(0, 10**12))
        leaving = draw(st.booleans())
        holders.append(Holder(f"m{number}", memory, giveable_bytes=giveable, usable_bytes=usable, leaving=leaving))
    return holders


@given(held(), st.integers(0, 10**12))
def test_what_is_taken_is_enough_and_no_model_goes_below_its_minimum(holders: list[Holder], wanted: int) -> None:
    limits = shrunk_limits(holders, wanted)
    if limits is None:
        assert wanted > giveable_bytes(holders)
        return
    by_name = {holder.name: holder for holder in holders}
    freed = sum(by_name[name].memory_limit_bytes - limit for name, limit in limits.items())
    assert wanted <= freed <= wanted + len(holders)
    for name, limit in limits.items():
        assert not by_name[name].leaving
        assert (
            by_name[name].memory_limit_bytes - by_name[name].giveable_bytes <= limit <= by_name[name].memory_limit_bytes
        )


@given(held(), st.integers(0, 10**13))
def test_growth_keeps_to_the_budget_and_to_what_each_can_use(holders: list[Holder], budget: int) -> None:
    limits = grown_limits(budget, holders)
    by_name = {holder.name: holder for holder in holders}
    added = {name: limit - by_name[name].memory_limit_bytes for name, limit in limits.items()}
    assert sum(added.values()) <= max(0, budget - sum(holder.memory_limit_bytes for holder in holders))
    for name, more in added.items():
        assert 0 < more <= by_name[name].usable_bytes
        assert more > LEAST_STEP_SHARE * by_name[name].memory_limit_bytes, "a stop for nothing"


def test_each_gives_in_proportion_to_what_it_can() -> None:
    holders = [Holder("a", 100, giveable_bytes=80), Holder("b", 50, giveable_bytes=20), Holder("c", 70)]
    assert shrunk_limits(holders, 50) == {"a": 60, "b": 40}
    assert shrunk_limits(holders, 101) is None
    assert shrunk_limits(holders, 0) == {}


GB = 1_000_000_000
SIZES = st.integers(0, 64 * GB)


def memory(available: int, total: int = 24 * GB) -> Memory:
    return Memory(total, total, available)


def test_models_alone_never_cause_pressure() -> None:
    """With the whole default budget filled, the default's own reserve is left."""
    for total in (4 * GB, 24 * GB, 128 * GB):
        budget = default_memory_budget_bytes(total, int(total * 0.9))
        left = memory(int(total * 0.9) - budget, total)
        assert budget_under_pressure(budget, budget, budget, left, Pressure.CRITICAL) == budget


def test_what_is_missing_of_the_reserve_is_given_at_once() -> None:
    reserve = int(24 * GB * 0.04)
    assert (
        budget_under_pressure(20 * GB, 20 * GB, 12 * GB, memory(reserve - GB // 2), Pressure.CALM) == 12 * GB - GB // 2
    )


def test_waiting_processes_count_only_where_memory_is_short() -> None:
    assert budget_under_pressure(20 * GB, 20 * GB, 10 * GB, memory(8 * GB), Pressure.CRITICAL) == 20 * GB
    assert budget_under_pressure(20 * GB, 20 * GB, 10 * GB, memory(GB + 1), Pressure.CRITICAL) == 8_500_000_000


def test_it_comes_back_when_the_others_are_gone() -> None:
    limit = 5 * GB
    for _ in range(10):
        limit = budget_under_pressure(limit, 20 * GB, 5 * GB, memory(15 * GB), Pressure.CALM)
    assert limit == 20 * GB


@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from(Pressure))
def test_it_stays_within_the_budget(limit: int, budget: int, held: int, available: int, pressure: Pressure) -> None:
    new = budget_under_pressure(min(limit, budget), budget, held, memory(available), pressure)
    assert 0 <= new <= budget


@pytest.mark.parametrize(
    ("limit", "available", "budget"),
    [
        (64 * 10**9, 40 * 10**9, 33_600_000_000),
        (8 * 10**9, 6 * 10**9, 5 * 10**9),
        (2 * 10**9, 10**9, 500_000_000),
        (4 * 10**9, 90 * 10**9, 3 * 10**9),
        (10, 0, 1),
    ],
)
def test_default_budget(limit: int, available: int, budget: int) -> None:
    assert default_memory_budget_bytes(limit, available) == budget
