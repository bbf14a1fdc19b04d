"""A worker's health: which silence means that it must be ended, and which does not."""

import time

import pytest

from hypura.v1 import worker_pb2
from hypura_daemon.workers.health import LEAST_MISSED, WorkerHealth


class Time:
    now_seconds = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    times = Time()
    monkeypatch.setattr(time, "monotonic", lambda: times.now_seconds)
    return times


def counted(passes: int) -> worker_pb2.WorkerStatisticsResponse:
    return worker_pb2.WorkerStatisticsResponse(passes=passes, rss_bytes=passes * 7)


def test_after_the_machine_slept_a_worker_does_not_count_as_deaf(clock: Time) -> None:
    health = WorkerHealth(16, 900)
    health.note_heartbeat(counted(1))
    clock.now_seconds += 3600
    health.missed = LEAST_MISSED - 1
    assert health.failure() == ""
    health.missed = LEAST_MISSED
    assert "did not answer for 3600 seconds" in health.failure()
    health.note_heartbeat(counted(1))
    assert health.failure() == ""


def test_an_idle_worker_never_hangs(clock: Time) -> None:
    health = WorkerHealth(16, 900)
    health.note_heartbeat(counted(1))
    clock.now_seconds += 10_000
    health.note_heartbeat(counted(1))
    assert health.failure() == ""
    with health.call():  # The time without work before it does not count.
        assert health.failure() == ""


def test_one_pass_that_never_ends_is_a_hang_and_one_that_ends_is_not(clock: Time) -> None:
    health = WorkerHealth(16, 900)
    health.note_heartbeat(counted(1))
    with health.call():
        clock.now_seconds += 899
        health.note_heartbeat(counted(2))
        clock.now_seconds += 899
        health.note_heartbeat(counted(2))
        assert health.failure() == ""
        clock.now_seconds += 1
        health.note_heartbeat(counted(2))
        assert "made no progress for 900 seconds with 1 requests" in health.failure()
        health.note_progress()
        assert health.failure() == ""
