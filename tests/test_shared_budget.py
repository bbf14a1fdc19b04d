"""Several models larger than the memory they share, in a cgroup that kills what takes more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hypura_client.bench import cgroup
from tests.home import Home
from tests.models.writer import write_synthetic_model
from tests.test_end_to_end import GREEDY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LIMIT_BYTES = 3_000_000_000
BUDGET_BYTES = 2_600_000_000
MODELS = {"first": ("qwen3-30b-a3b", 6, 1), "second": ("qwen3-30b-a3b", 6, 2), "third": ("mixtral-8x7b", 2, 1)}


@pytest.fixture(scope="module")
def cage() -> Iterator[cgroup.MemoryCgroup]:
    try:
        made = cgroup.make(LIMIT_BYTES)
    except cgroup.NoCgroup as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cage: cgroup.MemoryCgroup) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("daemon"))
    for name, (shape, layers, seed) in MODELS.items():
        write_synthetic_model(shape, home.models / f"{name}.gguf", layers=layers, seed=seed)
    home.environment |= {"HYPURA_MEMORY": str(BUDGET_BYTES), "HYPURA_HTTP": "off", "HYPURA_NO_START": "1"}
    daemon = subprocess.Popen([*cage.prefix, sys.executable, "-m", "hypura_daemon"], env=home.environment)
    try:
        while daemon.poll() is None:
            if home.run("status").returncode == 0:
                break
        home.call("add", str(home.models))
        yield home
    finally:
        home.stop()
        daemon.wait(timeout=60)
        for path in home.models.iterdir():
            path.unlink()


def oom_kills(cage: cgroup.MemoryCgroup) -> int:
    assert cage.folder is not None
    for name in ("memory.oom_control", "memory.events"):
        if (cage.folder / name).exists():
            lines = (cage.folder / name).read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    raise AssertionError


def held(home: Home) -> dict[str, int]:
    return {m["name"].removesuffix(":latest"): m["memory_bytes"] for m in home.call("status")["models"]}


def test_three_models_in_turn(home: Home, cage: cgroup.MemoryCgroup) -> None:
    answers: dict[str, set[tuple[int, ...]]] = {name: set() for name in MODELS}
    for _ in range(3):
        for name in MODELS:
            answers[name].add(tuple(home.call("run", name, "hello", *GREEDY)["token_ids"]))
    assert all(len(found) == 1 for found in answers.values()), "other memory, other tokens"
    assert oom_kills(cage) == 0


def test_two_models_at_once_share_the_memory_and_take_it_back(home: Home, cage: cgroup.MemoryCgroup) -> None:
    alone = home.call("run", "first", "hello", *GREEDY)["token_ids"]
    whole = held(home)["first"]
    long = home.start("run", "first", "hello", "--max-tokens", "1500", *GREEDY[2:], "--json")
    try:
        while not int(home.state("first:latest")["statistics"]["active_requests"]):
            pass
        home.call("run", "second", "hello", *GREEDY)
        both = held(home)
        assert sum(both.values()) <= BUDGET_BYTES
        assert set(both) == {"first", "second"}, "the busy model stays, and gives room"
        assert both["first"] < whole
        home.call("unload", "second")
        while held(home)["first"] < whole * 0.97:
            pass
        out, err = long.communicate(timeout=600)
        assert long.returncode == 0, err
        assert json.loads(out)["token_ids"][: len(alone)] == alone
    finally:
        long.kill()
    assert oom_kills(cage) == 0
    peak = cage.peak_bytes()
    assert peak is None or peak <= LIMIT_BYTES
