"""Run settings: a load's settings win over found ones, and those over the planner's choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.model import open_model
from hypura_daemon.planning.plan import LoadRequest, Plan, RunSettings
from hypura_daemon.planning.planner import plan
from hypura_daemon.planning.run_settings import MAX_IN_FLIGHT_BYTES, checked_settings, with_settings
from hypura_daemon.planning.wire import plan_to_proto
from hypura_daemon.residency.worker_tasks import worker_environment
from tests.daemon.planning.machines import DRIVE, machine
from tests.models.writer import write_synthetic_model

NOTHING = RunSettings()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_synthetic_model("tiny-moe", path)
    return plan(
        open_model(path, "m"), machine(), DRIVE, LoadRequest(memory_limit_bytes=1 << 30, weight_cache_percent=25)
    )


def test_without_given_or_found_settings_the_plan_is_unchanged(made: Plan) -> None:
    assert with_settings(made, NOTHING, NOTHING) == made


def test_found_settings_are_used_and_named(made: Plan) -> None:
    found = with_settings(
        made, NOTHING, RunSettings(threads=1, batch_threads=1, queue_depth=8, chunk_bytes=1 << 19, spin_count=0)
    )
    assert (found.threads, found.batch_threads, found.spin_count) == (1, 1, 0)
    assert (found.io.queue_depth, found.io.chunk_bytes) == (8, 1 << 19)
    proto = plan_to_proto(found)
    assert list(proto.tuned) == ["threads", "batch_threads", "queue_depth", "chunk_bytes", "spin_count"]
    assert proto.HasField("spin_count") and not plan_to_proto(made).HasField("spin_count")


def test_the_loads_settings_win(made: Plan) -> None:
    found = with_settings(
        made, RunSettings(threads=2, spin_count=5), RunSettings(threads=1, queue_depth=8, spin_count=0)
    )
    assert (found.threads, found.spin_count, found.io.queue_depth) == (2, 5, 8)
    assert found.tuned == ("queue_depth",)


def test_exact_loads_keep_their_threads(made: Plan) -> None:
    found = with_settings(replace(made, exact=True), NOTHING, RunSettings(threads=1, batch_threads=1, queue_depth=8))
    assert (found.threads, found.batch_threads) == (made.threads, made.batch_threads)
    assert found.tuned == ("queue_depth",)


def test_the_spin_count_reaches_the_worker(made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert "GOMP_SPINCOUNT" not in worker_environment(made)
    spinning = with_settings(made, NOTHING, RunSettings(spin_count=1000))
    assert worker_environment(spinning)["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")  # the user's word goes first
    assert "GOMP_SPINCOUNT" not in worker_environment(spinning)


@pytest.mark.parametrize(
    "wrong",
    [
        RunSettings(threads=0),
        RunSettings(threads=3),
        RunSettings(batch_threads=3),
        RunSettings(queue_depth=65),
        RunSettings(chunk_bytes=1 << 15),
        RunSettings(chunk_bytes=(1 << 20) + 1),
        RunSettings(spin_count=1 << 40),
    ],
)
def test_impossible_settings_are_refused(wrong: RunSettings) -> None:
    with pytest.raises(InvalidRequest, match=r"is not possible|not a multiple"):
        checked_settings(wrong, usable_cores=2)


_io = st.builds(
    RunSettings,
    queue_depth=st.none() | st.integers(1, 64),
    chunk_bytes=st.none() | st.integers(1, 512).map(lambda n: n << 16),
)


@given(given_=_io, found=_io)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_found_settings_never_cause_a_refusal(made: Plan, given_: RunSettings, found: RunSettings) -> None:
    """Nor do they take more memory for reads in flight than the plan has room for."""
    try:
        without = with_settings(made, given_, NOTHING)
    except InvalidRequest:
        return
    both = with_settings(made, given_, found).io
    assert both.queue_depth * both.chunk_bytes <= max(
        MAX_IN_FLIGHT_BYTES, without.io.queue_depth * without.io.chunk_bytes
    )
