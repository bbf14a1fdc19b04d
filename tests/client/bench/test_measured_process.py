"""A measured process: its group is signalled while the process is there, and never after it was collected."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hypura_client.bench.measured_process import MeasuredProcess


def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    killpg, signals = os.killpg, []

    def watched(group: int, number: int) -> None:
        signals.append((group, number))
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", watched)
    return signals


def module(folder: Path, text: str) -> dict[str, str]:
    (folder / "measured.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def test_one_that_has_ended_is_not_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = sent(monkeypatch)
    with MeasuredProcess("measured", (), module(tmp_path, "")) as process:
        while not process.ended:
            time.sleep(0.01)
    assert signals == []


def test_one_that_runs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = sent(monkeypatch)
    with MeasuredProcess("measured", (), module(tmp_path, "import time\nprint(flush=True)\ntime.sleep(60)")) as process:
        process.line(20)
    assert [number for _, number in signals] == [signal.SIGTERM]
