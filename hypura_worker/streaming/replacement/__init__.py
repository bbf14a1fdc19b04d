"""Which experts stay in memory: policies behind one interface, and a replay that compares them."""

from hypura_worker.streaming.replacement.policy import Key, Policy, Shape
from hypura_worker.streaming.replacement.recency import least_recently_used

__all__ = ["Key", "Policy", "Shape", "least_recently_used"]
