"""Who gives back how much, and who takes it again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.scheduling.elastic import LEAST_STEP_SHARE, giveable_bytes, grown, shrunk
from hypura_daemon.scheduling.eviction import Holder


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
def test_what_is_taken_is_enough_and_nobody_goes_below_what_it_can_do_with(holders: list[Holder], wanted: int) -> None:
    limits = shrunk(holders, wanted)
    if limits is None:
        assert wanted > giveable_bytes(holders)
        return
    by_name = {holder.name: holder for holder in holders}
    freed = sum(by_name[name].memory_bytes - limit for name, limit in limits.items())
    assert wanted <= freed <= wanted + len(holders)
    for name, limit in limits.items():
        assert not by_name[name].leaving
        assert by_name[name].memory_bytes - by_name[name].giveable_bytes <= limit <= by_name[name].memory_bytes


@given(held(), st.integers(0, 10**13))
def test_growth_keeps_to_the_budget_and_to_what_each_can_use(holders: list[Holder], budget: int) -> None:
    limits = grown(budget, holders)
    by_name = {holder.name: holder for holder in holders}
    added = {name: limit - by_name[name].memory_bytes for name, limit in limits.items()}
    assert sum(added.values()) <= max(0, budget - sum(holder.memory_bytes for holder in holders))
    for name, more in added.items():
        assert 0 < more <= by_name[name].usable_bytes
        assert more > LEAST_STEP_SHARE * by_name[name].memory_bytes, "a stop for nothing"


def test_each_gives_in_proportion_to_what_it_can() -> None:
    holders = [Holder("a", 100, giveable_bytes=80), Holder("b", 50, giveable_bytes=20), Holder("c", 70)]
    assert shrunk(holders, 50) == {"a": 60, "b": 40}
    assert shrunk(holders, 101) is None
    assert shrunk(holders, 0) == {}
