"""Which experts stay in memory: the policies by name, and the default; `hypuractl trace replay` compares them."""

from __future__ import annotations

from hypura_worker.streaming.replacement.classic import (
    Decayed,
    Hyperbolic,
    LeastFrequentlyUsed,
    LeastRecentlyUsed,
    LeastStale,
    Pinned,
)
from hypura_worker.streaming.replacement.learned import Learned
from hypura_worker.streaming.replacement.policy import Policy, Shape

POLICIES: dict[str, type[Policy]] = {
    "lru": LeastRecentlyUsed,
    "lfu": LeastFrequentlyUsed,
    "decayed": Decayed,
    "least-stale": LeastStale,
    "pinned": Pinned,
    "hyperbolic": Hyperbolic,
    "learned": Learned,
}
DEFAULT = "learned"
"""It hits most at every number of slots that was replayed."""


def make(name: str, shape: Shape) -> Policy:
    """A policy by its name. Raises ValueError for an unknown one."""
    policy = POLICIES.get(name)
    if policy is None:
        raise ValueError(f"no replacement policy is named {name!r}; there are {', '.join(POLICIES)}")
    return policy(shape)
