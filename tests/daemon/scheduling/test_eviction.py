"""Which models leave so that another fits, and whose turn it is: tables, and properties of any case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.scheduling.eviction import Holder, Wish, described, evict, held_back, spare_bytes, yielding
from hypura_daemon.scheduling.rules import Rules


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
    held = sum(h.memory_limit_bytes for h in holders if not h.leaving)
    if victims is None:
        assert wanted > budget - sum(h.memory_limit_bytes for h in holders if not h.movable and not h.leaving)
        return
    assert wanted <= spare
    gone = {h.name: h.memory_limit_bytes for h in holders if h.name in victims}
    assert all(h.movable for h in holders if h.name in victims)
    assert held - sum(gone.values()) + wanted <= budget
    for size in gone.values():
        assert held - sum(gone.values()) + size + wanted > budget


def test_described() -> None:
    assert described([OLD, BUSY]) == '"old" 0.00 GB, "busy" 0.00 GB (busy)'


RULES = Rules(turn_wait_seconds=20, min_residency_seconds=10)


def busy(name: str, size: int, since: float, *, pinned: bool = False) -> Holder:
    return Holder(name, size, kept="busy", pinned=pinned, resident_since_seconds=since)


A, B = busy("a", 5, 0.0), busy("b", 4, 50.0)
IDLE = Holder("idle", 3, resident_since_seconds=0.0, expires_seconds=500.0)
PINNED = busy("pinned", 5, 0.0, pinned=True)


@pytest.mark.parametrize(
    ("holders", "wishes", "now", "names"),
    [
        ([A, B], [], 100, set()),
        ([A, B], [Wish("w", 3, 81)], 100, set()),  # has not waited long enough
        ([A, B], [Wish("w", 3, 80)], 100, {"a"}),  # the longest loaded first, and no more than that
        ([A, B], [Wish("w", 8, 80)], 100, {"a", "b"}),
        ([A, B], [Wish("w", 8, 30)], 55, {"a"}),  # "b" was just loaded
        ([A, B], [Wish("w", 3, 80), Wish("v", 10, 79)], 100, {"a", "b"}),  # the oldest decides
        ([PINNED, B], [Wish("w", 3, 80)], 100, {"b"}),
        ([A, IDLE], [Wish("w", 4, 80)], 100, {"idle"}),  # nobody new is let in before it leaves
        ([A, B], [Wish("a", 6, 80)], 100, set()),  # what it holds itself is free for it
        ([A, B], [Wish("a", 7, 80)], 100, {"b"}),
    ],
)
def test_yielding(holders: list[Holder], wishes: list[Wish], now: float, names: set[str]) -> None:
    assert yielding(10, holders, wishes, now, RULES) == names


@pytest.mark.parametrize(
    ("wishes", "since", "now", "held"),
    [
        ([], 5, 100, False),
        ([Wish("w", 1, 4)], 5, 23, False),
        ([Wish("w", 1, 4)], 5, 24, True),
        ([Wish("w", 1, 6)], 5, 100, False),
        ([Wish("me", 1, 4)], 5, 100, False),
    ],
)
def test_held_back(wishes: list[Wish], since: float, now: float, held: bool) -> None:
    assert held_back(wishes, "me", since, now, RULES) is held


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(0, 100), st.sampled_from("bip")), max_size=7),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_when_yielding_models_have_left_there_is_room(
    rows: list[tuple[int, float, str]], budget: int, wanted: int
) -> None:
    holders = [
        Holder(f"m{i}", size, kept="" if kind == "i" else "x", pinned=kind == "p", resident_since_seconds=since)
        for i, (size, since, kind) in enumerate(rows)
    ]
    names = yielding(budget, holders, [Wish("w", wanted, 0.0)], 1000.0, RULES)
    assert not names & {holder.name for holder in holders if holder.pinned}
    if wanted <= budget - sum(holder.memory_limit_bytes for holder in holders if holder.pinned):
        assert spare_bytes(budget, [holder for holder in holders if holder.name not in names]) >= wanted
