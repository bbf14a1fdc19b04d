"""hypuractl bench, iobench and trace on tiny models, with real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hypura.v1.tools_pb2 import DriveReading
from hypura_client.bench.drive_sweep import DriveUnreadable, bandwidth, sweep
from hypura_client.bench.plots import drive_plot, policies_plot, speed_plot, split_plot
from hypura_client.errors import InvalidRequest
from tests.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("bench"))
    made.write_tiny_models()
    yield made
    made.stop()


SHORT = ("--tokens", "8", "--prompt-tokens", "16", "--runs", "2", "--memory", "1GB")


def test_a_streamed_model_and_its_baselines(home: Home) -> None:
    """Keeps out baselines of other tokens, and a campaign that leaves a field of its report empty."""
    made = home.call("bench", home.moe, *SHORT, "--weight-cache", "25%", "--baseline", "--exact")
    assert made["mode"] == "expert-streaming" and made["killed"] is False and made["runs"] == 2
    for name in (
        "decode_tok_per_second", "prefill_tok_per_second", "ttft_seconds", "load_seconds", "drive_bytes_per_second",
        "compute_seconds_per_token", "roofline_ratio", "predicted_tok_per_second", "bytes_read_per_token",
    ):  # fmt: skip
        assert made[name] > 0, name
    assert 0 <= made["hit_rate"] < 1 and made["stall_seconds_per_token"] >= 0
    assert len(made["token_ids"]) == 8 and made["same_tokens_in_all_runs"]
    assert made["roofline_compute_of"] in ("the all-resident run", "the time computing")
    for name in ("mmap", "no_mmap"):
        theirs = made["baselines"][name]
        assert theirs["killed"] is False and theirs["speedup"] > 0
        assert theirs["same_choices"] == 1, "the runs were not asked the same"
    assert made["caches_dropped"] and made["written_bytes"] == 0


def test_a_model_that_fits(home: Home) -> None:
    made = home.call("bench", home.dense, *SHORT, "--runs", "1")
    assert made["mode"] == "resident" and made["hit_rate"] is None and made["baselines"] == {}
    assert made["decode_tok_per_second"] > 0 and made["token_ids"]


def test_impossible_requests_are_refused(home: Home) -> None:
    """Keeps out a benchmark that takes the machine down, or one that fails without saying why."""
    huge = home.call("bench", home.moe, "--memory", "100TB", code=1)
    assert huge["error"]["type"] == "InvalidRequest" and "--force" in huge["error"]["message"]
    long = home.call("bench", home.moe, "--memory", "1GB", "--context", "256", "--prompt-tokens", "300", code=1)
    assert "--prompt-tokens" in long["error"]["message"]
    assert home.call("bench", "no-such-model", code=1)["error"]["type"] == "ModelNotFound"
    assert home.call("bench", home.moe, "--runs", "0", code=2)["error"]["type"] == "UsageError"


def test_a_recorded_trace_is_of_experts_not_of_slots(home: Home, tmp_path: Path) -> None:
    """Keeps out a recorder that sees the ids after they became slot numbers."""
    streamed, resident = tmp_path / "streamed.csv", tmp_path / "resident.csv"
    common = ("trace", "record", home.moe, "--tokens", "6", "--exact", "--memory", "1GB")
    done = home.call(*common, "--weight-cache", "30%", "--out", str(streamed))
    home.call(*common, "--out", str(resident))
    assert done["tokens"] == 6 and done["choices"] == len(rows(streamed))
    assert rows(streamed) == rows(resident)
    replayed = home.call("trace", "replay", str(streamed), "--cache-mib", "4")
    rates = replayed["policies"]
    assert replayed["default"] in rates and max(rates.values()) == rates["belady"]
    refused = home.call("trace", "record", home.dense, "--out", str(tmp_path / "none.csv"), code=1)
    assert "no routed experts" in refused["error"]["message"] and not list(tmp_path.glob("none*"))


def rows(trace: Path) -> list[tuple[str, ...]]:
    """phase, step, layer, slot and expert of every choice."""
    lines = trace.read_text().splitlines()
    return [tuple(line.split(",")[1:6]) for line in lines if line[0].isdigit()]


def test_the_drive_is_read_in_every_way(home: Home, tmp_path: Path) -> None:
    """Keeps out a sweep that skips a point, or that counts what never arrived."""
    points = [(4096, 1, 1), (65536, 4, 2), (1 << 20, 1, 3), (1 << 28, 1, 1)]
    found = list(sweep(Path(home.moe), points, 0.05))
    assert [(r.block_bytes, r.queue_depth, r.threads) for r in found] == points[:3], "larger than the file: left out"
    assert all(0 < reading.bytes_per_second < 1e12 for reading in found)
    assert (bandwidth(Path(home.moe)) or 0) > 0
    small = tmp_path / "small.bin"
    small.write_bytes(b"x" * 5000)
    assert bandwidth(small) is None
    with pytest.raises(DriveUnreadable, match="none"):
        bandwidth(tmp_path / "none.bin")


def test_iobench_says_what_is_best(home: Home, tmp_path: Path) -> None:
    made = home.call("iobench", home.moe, "--seconds", "2", "--plot", str(tmp_path / "drive.svg"))
    assert made["best"] in made["points"] and len(made["points"]) > 10
    assert (tmp_path / "drive.svg").read_text().lstrip().startswith("<?xml")
    assert "smaller" in home.call("iobench", __file__, "--seconds", "2", code=1)["error"]["message"]


def test_plots_are_drawn_from_reports(tmp_path: Path) -> None:
    """Keeps out a plot that fails where a run was killed or a baseline is missing."""
    parts = {f"{part}_seconds_per_token": 0.1 for part in ("compute", "stall", "overhead")}
    speeds = {"decode_tok_per_second": 3.0, "roofline_tok_per_second": 4.0}
    entry: dict[str, Any] = {"memory_limit_bytes": 4e9, "baselines": {}, **speeds, **parts}
    killed = {**entry, "decode_tok_per_second": None, "stall_seconds_per_token": None}
    killed["baselines"] = {"mmap": {"decode_tok_per_second": 0.1}, "no_mmap": {"killed": True}}
    speed_plot([entry, killed], tmp_path / "speed.png", "x")
    split_plot([entry, killed], tmp_path / "split.png", "x")
    policies_plot({700: {"lru": 0.0, "belady": 50.0}}, tmp_path / "policies.png", "x")
    reading = DriveReading(block_bytes=4096, queue_depth=1, threads=1, bytes_per_second=1e9, direct=True)
    drive_plot([reading], tmp_path / "drive.png")
    assert len(list(tmp_path.glob("*.png"))) == 4
    with pytest.raises(InvalidRequest, match=r"\.png"):
        drive_plot([], tmp_path / "drive.exe")


def test_a_bench_that_is_killed_takes_its_worker_along(home: Home) -> None:
    """Keeps out workers that outlive a benchmark: they hold the memory that its cgroup limits."""
    import psutil

    bench = home.start("bench", home.moe, "--memory", "1GB", "--weight-cache", "25%", "--tokens", "3000")
    assert bench.stderr is not None
    for line in bench.stderr:
        if "loaded in" in line:
            break
    workers = [child for child in psutil.Process(bench.pid).children() if "hypura_worker" in child.cmdline()]
    assert workers
    os.kill(bench.pid, signal.SIGKILL)
    bench.communicate(timeout=30)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
