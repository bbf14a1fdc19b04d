"""Which models go so that another fits: a table, and what must hold for any case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.scheduling.budget import default_budget_bytes
from hypura_daemon.scheduling.eviction import Holder, evict, spare_bytes, told


def holder(name: str, size: int, used: float, *, movable: bool = True, leaving: bool = False) -> Holder:
    return Holder(name, size, kept="" if movable else "busy", leaving=leaving, last_used_seconds=used)


OLD = holder("old", 3, 1.0)
NEW = holder("new", 4, 2.0)
BUSY = holder("busy", 2, 0.0, movable=False)
GOING = holder("going", 5, 0.0, leaving=True)
SOON = Holder("soon", 3, expires_seconds=5.0, last_used_seconds=9.0)


@pytest.mark.parametrize(
    ("holders", "wanted", "victims"),
    [
        ([], 10, ()),
        ([], 11, None),
        ([OLD, NEW], 3, ()),
        ([OLD, NEW], 4, ("old",)),
        ([NEW, OLD], 6, ("old",)),
        ([OLD, NEW], 7, ("new",)),  # "old" alone is too little, and with "new" gone it may stay
        ([OLD, NEW], 8, ("old", "new")),
        ([OLD, BUSY], 8, ("old",)),
        ([OLD, BUSY], 9, None),
        ([GOING, BUSY], 8, ()),
        ([GOING, BUSY, OLD], 8, ("old",)),
        ([OLD, SOON], 5, ("soon",)),  # used last, and yet the first to expire
        ([OLD, SOON], 8, ("soon", "old")),
    ],
)
def test_table(holders: list[Holder], wanted: int, victims: tuple[str, ...] | None) -> None:
    assert evict(10, holders, wanted) == victims


HOLDERS = st.lists(
    st.builds(lambda size, used, kind: (size, used, kind), st.integers(0, 50), st.floats(0, 9), st.sampled_from("mlb")),
    max_size=8,
).map(lambda rows: [holder(f"m{i}", s, u, movable=k == "m", leaving=k == "l") for i, (s, u, k) in enumerate(rows)])


@given(HOLDERS, st.integers(1, 120), st.integers(1, 120))
def test_any_case(holders: list[Holder], budget: int, wanted: int) -> None:
    victims = evict(budget, holders, wanted)
    spare = spare_bytes(budget, holders)
    held = sum(h.memory_bytes for h in holders if not h.leaving)
    if victims is None:
        assert wanted > budget - sum(h.memory_bytes for h in holders if not h.movable and not h.leaving)
        return
    assert wanted <= spare
    gone = {h.name: h.memory_bytes for h in holders if h.name in victims}
    assert all(h.movable for h in holders if h.name in victims)
    assert held - sum(gone.values()) + wanted <= budget
    for size in gone.values():
        assert held - sum(gone.values()) + size + wanted > budget


def test_told() -> None:
    assert told([OLD, BUSY]) == '"old" 0.00 GB, "busy" 0.00 GB (busy)'


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
    assert default_budget_bytes(limit, available) == budget
