"""An always-on daemon must not be noticed: its bounds without a model."""

from __future__ import annotations

import pytest

from tests.idle_cost import measure


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_daemon_without_a_model_costs_next_to_nothing() -> None:
    cost = measure(requests=100_000, idle_seconds=30.0)
    assert cost.first_byte_seconds < 1.5
    assert cost.rss_bytes < 90_000_000
    assert cost.growth_bytes < 10_000_000, "something is kept of every request"
    assert cost.idle_cpu_share < 0.001
