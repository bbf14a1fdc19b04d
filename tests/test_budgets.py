"""What is planned loads: from the least budget up, and no load or answer takes more than the limit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura_client.bench import cgroup
from hypura_daemon.models.model import open_model
from hypura_daemon.planning.plan import LoadRequest, Mode
from tests import budgets
from tests.models.random_architectures import list_architectures, write_random_model
from tests.models.writer import write_synthetic_model

DEMO = next((Path(__file__).parents[1] / "hypura_daemon/models/demo").glob("*.gguf"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("budgets")
    yield made
    for path in made.glob("*.gguf"):
        path.unlink()


def _large_vocabulary(folder: Path) -> Path:
    """Embeddings of 123 MB, which are the output, too: as Gemma has them, one tensor is most of the model."""
    path = folder / "vocabulary.gguf"
    if not path.exists():
        write_random_model("gemma3", False, path, layers=6, tied=True, vocabulary=120_000)
    return path


def test_a_load_takes_no_more_than_its_limit(folder: Path, tmp_path: Path) -> None:
    """Seen: direct reads of llama.cpp's loader take the largest tensor once more, 60 MB beyond the limit."""
    model = open_model(_large_vocabulary(folder), "vocabulary")
    for memory_limit_bytes in budgets.budgets(model, LoadRequest(), 3)[:2]:
        made = budgets.planned(model, LoadRequest(memory_limit_bytes=memory_limit_bytes))
        outcome = budgets.run(made, tmp_path, prompt_tokens=40)
        assert outcome.kept, outcome


@pytest.mark.parametrize(("percent", "exact"), [(0.0, True), (6.0, True), (6.0, False)])
def test_the_fewest_slots_load(percent: float, exact: bool, tmp_path: Path) -> None:
    """Seen: "0 MB are left for expert slots, and the least is 0 MB", one byte more than the most."""
    request = LoadRequest(memory_limit_bytes=400_000_000, exact=exact, weight_cache_percent=percent)
    made = budgets.planned(open_model(DEMO, "demo"), request)
    assert made.mode is Mode.EXPERT_STREAMING
    outcome = budgets.run(made, tmp_path, prompt_tokens=20)
    assert outcome.kept and outcome.places, outcome


def test_a_cgroup_of_the_limit_is_enough_for_the_least(folder: Path, tmp_path: Path) -> None:
    """A limit that the kernel keeps: what takes more is killed."""
    model = open_model(_large_vocabulary(folder), "vocabulary")
    least = budgets.budgets(model, LoadRequest(), 1)[0]
    try:
        cage = cgroup.make(least + budgets.TOLERANCE_BYTES)
    except cgroup.NoCgroup as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        made = budgets.planned(model, LoadRequest(memory_limit_bytes=least))
        outcome = budgets.run(made, tmp_path, cage.prefix, prompt_tokens=40)
        assert outcome.kept, outcome
    finally:
        cage.remove()


_FORTY = [
    pytest.param(name, exact, id=f"{name}-{'exact' if exact else 'usual'}")
    for name in ("demo", "vocabulary", "tiny-moe", "tiny-dense", "qwen3moe", "llama", "mamba", "qwen35moe")
    for exact in (False, True)
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "exact"), _FORTY)
def test_forty_budgets_load(name: str, exact: bool, folder: Path) -> None:
    path = folder / f"{name}.gguf"
    if name == "demo":
        path = DEMO
    elif name == "vocabulary":
        path = _large_vocabulary(folder)
    elif not path.exists():
        if name.startswith("tiny"):
            write_synthetic_model(name, path)
        else:
            moe = next(moe for architecture, moe in list_architectures() if architecture == name)
            write_random_model(name, moe, path)
    outcomes = budgets.sweep(path, 40, LoadRequest(exact=exact))
    assert [outcome for outcome in outcomes if not outcome.kept] == []


@pytest.mark.slow
def test_the_command_sweeps_a_model() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.budgets", str(DEMO), "--budgets", "1"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "1 of 1 kept" in done.stdout, done.stdout + done.stderr
