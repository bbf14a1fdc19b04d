"""The load planner: the size of the context, and the error if it does not fit."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from hypura_daemon.errors import BudgetTooSmall, ContextTooLong
from hypura_daemon.hardware.profile import HardwareProfile
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.models.model import Model, open_model
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning import load_planner
from hypura_daemon.planning.load_planner import LoadPlanner
from hypura_daemon.planning.plan import LoadRequest, Mode
from tests.daemon.planning.machines import machine
from tests.models.writer import write_synthetic_model

TRAINED_TOKENS = 32768
PLENTY = 2_000_000_000


@dataclass
class Given:
    """A registry and a hardware store with one fixed answer."""

    model: Model

    def open(self, name: str) -> Model:
        return self.model

    async def known_profile(self, path: Path) -> HardwareProfile:
        return machine()


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> LoadPlanner:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_synthetic_model("tiny-dense", path)
    model = open_model(path, "tiny")
    given = Given(replace(model, hyperparameters=replace(model.hyperparameters, context_length=TRAINED_TOKENS)))
    return LoadPlanner(cast(Registry, given), cast(HardwareStore, given), 4096, 4)


async def tokens(planner: LoadPlanner, memory_limit_bytes: int = PLENTY, context: int = 0, least: int = 0) -> int:
    request = LoadRequest(memory_limit_bytes=memory_limit_bytes, context_tokens=context, least_context_tokens=least)
    return (await planner("tiny", request, whole=True)).context_tokens


@pytest.mark.parametrize(
    ("context", "least", "given"),
    [(0, 0, 4096), (0, 512, 4096), (0, 5000, 5120), (2048, 0, 2048), (2048, 3000, 3072), (0, 32700, TRAINED_TOKENS)],
)
async def test_the_size_of_the_context(planner: LoadPlanner, context: int, least: int, given: int) -> None:
    assert await tokens(planner, context=context, least=least) == given


async def test_a_context_beyond_the_trained_length_is_refused(planner: LoadPlanner) -> None:
    with pytest.raises(ContextTooLong, match=str(TRAINED_TOKENS)) as caught:
        await tokens(planner, least=TRAINED_TOKENS + 1)
    assert caught.value.required_bytes == 0


async def least_bytes(planner: LoadPlanner, context: int) -> int:
    with pytest.raises(BudgetTooSmall) as caught:
        await tokens(planner, 1, context=context)
    return caught.value.required_bytes


async def test_a_context_that_does_not_fit_is_refused_with_the_largest_that_does(planner: LoadPlanner) -> None:
    memory_limit_bytes = await least_bytes(planner, 8192)
    with pytest.raises(ContextTooLong, match=r"the largest that tiny can have there is (\d+)") as caught:
        await tokens(planner, memory_limit_bytes, least=20000)
    largest = int(str(caught.value).split("there is ")[1].split(";")[0])
    assert 8192 <= largest < 20000 and caught.value.largest_tokens == largest
    assert await tokens(planner, memory_limit_bytes, context=largest) == largest
    with pytest.raises(BudgetTooSmall):
        await tokens(planner, memory_limit_bytes, context=largest + 256)
    assert await tokens(planner, caught.value.required_bytes, least=20000) >= 20000


async def test_a_context_that_fits_only_unrounded_is_planned_unrounded(planner: LoadPlanner) -> None:
    memory_limit_bytes = await least_bytes(planner, 16500)
    assert await tokens(planner, least=16500) == 18432
    assert await tokens(planner, memory_limit_bytes, least=16500) == 16500


async def test_a_smaller_context_is_planned_if_the_usual_one_does_not_fit(planner: LoadPlanner) -> None:
    memory_limit_bytes = await least_bytes(planner, 1024)
    assert await tokens(planner, memory_limit_bytes, least=1024) == 1024
    with pytest.raises(BudgetTooSmall):
        await tokens(planner, memory_limit_bytes)


async def test_without_memory_the_error_names_the_minimum(planner: LoadPlanner) -> None:
    plan = await planner("tiny", LoadRequest(memory_limit_bytes=await least_bytes(planner, 4096)), whole=True)
    assert plan.mode is not Mode.MMAP


async def test_a_preview_waits_for_the_measurement_but_not_for_long(
    planner: LoadPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    async def never(path: Path) -> HardwareProfile:
        asked.append(path)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(planner._hardware, "profile", never, raising=False)
    monkeypatch.setattr(load_planner, "PREVIEW_SECONDS", 0.05)
    async with asyncio.timeout(10):
        assert (
            await planner.preview("tiny", LoadRequest(), spare_bytes=PLENTY, granted_bytes=0)
        ).context_tokens == 4096
    assert len(asked) == 1
