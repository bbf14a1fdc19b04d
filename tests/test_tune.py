"""hypuractl tune on the demo model, with a real daemon and real workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura_client.sync import Client
from tests.home import Home

STREAMED = ("--weight-cache", "25%", "--memory", "500MB")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("tune"))
    made.environment.pop("OMP_WAIT_POLICY", None)  # A spin count is for threads that spin.
    yield made
    made.stop()


def test_a_model_is_tuned_and_told(home: Home) -> None:
    made = home.call("tune", "demo", *STREAMED, "--seconds", "0.3", "--only", "queue_depth", "--only", "spin_count")
    assert made["model"] == "demo:latest" and made["mode"] == "expert-streaming"
    assert made["pairs"] == 3 and made["tokens"] >= 8 and made["prompt_tokens"] > 0 and made["seconds"] > 0
    assert {trial["setting"] for trial in made["trials"]} == {"queue_depth", "spin_count"}
    for trial in made["trials"]:
        assert trial["same_tokens"], "settings that change no bit changed the output"
        assert trial["outcome"] in ("better", "noise", "costly") and 1 <= trial["pairs"] <= 3
    assert made["kept"] == any(value is not None for value in made["settings"].values())
    kept = json.loads(Path(made["path"]).read_text())["tunings"]
    assert [entry["mode"] for entry in kept] == ["expert-streaming"]
    assert kept[0]["settings"] == made["settings"]
    shown = home.call("tune", "demo", "--show")
    assert [entry["settings"] for entry in shown["tunings"]] == [made["settings"]]
    assert not shown["tunings"][0]["stale"]
    assert home.call("status")["models"] == [], "the last candidate stayed loaded"


def test_what_was_found_is_used_by_the_next_load_and_reset_ends_that(home: Home) -> None:
    planned = home.call("plan", "demo", *STREAMED)
    found = placement.RunSettings(threads=1, queue_depth=3, spin_count=500)
    with Client(Path(home.call("status")["daemon"]["socket_path"])) as client:
        tuning = control.Tuning(mode=placement.MODE_EXPERT_STREAMING, settings=found, decode_gain=0.1)
        client.keep_tuning("demo", tuning)
        options = control.LoadOptions(weight_cache_percent=25, memory_limit_bytes=500_000_000)
        options.settings.queue_depth = 5  # said goes before found
        assert client.plan("demo", options).plan.io.queue_depth == 5
        options.untuned = True
        assert not client.plan("demo", options).plan.tuned
    plan = home.call("plan", "demo", *STREAMED)
    assert plan["tuned"] == ["threads", "queue_depth", "spin_count"]
    assert (plan["threads"], plan["io"]["queue_depth"], plan["spin_count"]) == (1, 3, 500)
    exact = home.call("plan", "demo", *STREAMED, "--exact")
    assert exact["tuned"] == ["queue_depth", "spin_count"] and exact["threads"] == planned["threads"]
    assert home.call("plan", "demo", "--memory", "1GB")["tuned"] == [], "of another mode"
    loaded = home.call("load", "demo", *STREAMED)
    assert loaded["plan"]["tuned"] == plan["tuned"]
    environ = Path(f"/proc/{loaded['worker_pid']}/environ")
    if environ.exists() and "GOMP_SPINCOUNT" not in home.environment:
        assert b"GOMP_SPINCOUNT=500" in environ.read_bytes().split(b"\0")
    assert "tuned threads, queue_depth, spin_count" in home.run("status").stdout
    home.call("unload", "demo")
    assert home.call("tune", "demo", "--reset")["was_kept"]
    assert not home.call("tune", "demo", "--reset")["was_kept"]
    assert home.call("tune", "demo", "--show")["tunings"] == []
    after = home.call("plan", "demo", *STREAMED)
    assert after["tuned"] == [] and after["io"] == planned["io"] and after["threads"] == planned["threads"]


def test_a_corrupt_file_harms_no_load(home: Home) -> None:
    path = Path(home.call("tune", "demo", "--show")["path"])
    path.parent.mkdir(exist_ok=True)
    path.write_text("no JSON")
    assert home.call("plan", "demo", *STREAMED)["tuned"] == []
    path.unlink()


def test_what_cannot_be_tuned_is_refused(home: Home) -> None:
    assert home.call("tune", "no-such-model", code=1)["error"]["type"] == "ModelNotFound"
    assert home.call("tune", "demo", "--pairs", "2", code=2)["error"]["type"] == "UsageError"
    assert home.call("tune", "demo", "--show", "--reset", code=2)["error"]["type"] == "UsageError"
    resident = home.call("tune", "demo", "--memory", "1GB", "--only", "queue_depth", "--seconds", "0.1", code=1)
    assert "nothing to try" in resident["error"]["message"]
