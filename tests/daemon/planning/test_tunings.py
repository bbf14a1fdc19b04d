"""Tunings are kept on a real disk, used on the machine where they were measured, and ignored if they are broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hypura_daemon.errors import InvalidRequest, WorkerFailed
from hypura_daemon.planning.plan import Mode, RunSettings
from hypura_daemon.planning.tunings import Tuning, Tunings
from tests.daemon.planning.machines import machine

DIGEST, OTHER = "a" * 64, "b" * 64
FOUND = Tuning(Mode.EXPERT_STREAMING, RunSettings(threads=1, spin_count=0), 4_000_000_000, 0.1, 0.0)


async def used(tunings: Tunings, mode: Mode = Mode.EXPERT_STREAMING, digest: str = DIGEST) -> RunSettings:
    return await tunings.settings_for(digest, mode, machine())


async def test_a_tuning_is_used_only_for_its_mode_and_model(tmp_path: Path) -> None:
    tunings = Tunings(tmp_path / "tuning")
    assert await used(tunings) == RunSettings()
    kept = await tunings.save(DIGEST, FOUND, machine())
    assert kept.measured_at_seconds > 0
    assert await used(tunings) == await used(Tunings(tmp_path / "tuning")) == FOUND.settings
    assert await used(tunings, Mode.RESIDENT) == await used(tunings, digest=OTHER) == RunSettings()
    await tunings.save(DIGEST, replace(FOUND, mode=Mode.RESIDENT, settings=RunSettings(spin_count=7)), machine())
    await tunings.save(DIGEST, replace(FOUND, settings=RunSettings()), machine())
    assert await used(tunings) == RunSettings() and await used(tunings, Mode.RESIDENT) == RunSettings(spin_count=7)
    [file] = (tmp_path / "tuning").iterdir()
    assert file == tunings.path(DIGEST) and file.stat().st_size < 4096


async def test_a_tuning_is_removed(tmp_path: Path) -> None:
    tunings = Tunings(tmp_path)
    assert not await tunings.forget(DIGEST)
    await tunings.save(DIGEST, FOUND, machine())
    assert await tunings.forget(DIGEST)
    assert await used(tunings) == RunSettings()


@pytest.mark.parametrize(
    "change", [{"cpu": "another"}, {"usable_cores": 4}, {"llama_cpp_python_version": "9"}, {"drives": ()}]
)
async def test_a_tuning_is_not_used_on_another_machine(tmp_path: Path, change: dict[str, object]) -> None:
    tunings = Tunings(tmp_path)
    await tunings.save(DIGEST, FOUND, machine())
    changed = replace(machine(), **change)  # type: ignore[arg-type]
    assert await tunings.settings_for(DIGEST, FOUND.mode, changed) == RunSettings()
    assert len(await tunings.read(DIGEST)) == 1


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"format": 1}', "foreign", "format", "wild", "x" * (1 << 21)])
async def test_a_broken_file_is_ignored_and_logged(tmp_path: Path, broken: str) -> None:
    tunings = Tunings(tmp_path)
    await tunings.save(DIGEST, FOUND, machine())
    whole = json.loads(tunings.path(DIGEST).read_text())
    if broken == "foreign":
        broken = json.dumps(whole | {"digest": OTHER})
    elif broken == "format":
        broken = json.dumps(whole | {"format": 2})
    elif broken == "wild":
        whole["tunings"][0]["settings"]["threads"] = 10**6
        broken = json.dumps(whole)
    tunings.path(DIGEST).write_text(broken)
    with capture_logs() as logs:
        assert await used(tunings) == RunSettings()
    assert [line["log_level"] for line in logs] == ["warning"]
    await tunings.save(DIGEST, FOUND, machine())
    assert await used(tunings) == FOUND.settings


async def test_impossible_tunings_are_refused(tmp_path: Path) -> None:
    tunings = Tunings(tmp_path)
    for wrong in (
        replace(FOUND, settings=RunSettings(threads=99)),
        replace(FOUND, decode_gain=float("nan")),
        replace(FOUND, memory_limit_bytes=1 << 63),
    ):
        with pytest.raises(InvalidRequest, match="not possible"):
            await tunings.save(DIGEST, wrong, machine())
    with pytest.raises(WorkerFailed, match="digest"):
        tunings.path("../escape")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WorkerFailed, match="cannot be written"):
        await Tunings(blocked).save(DIGEST, FOUND, machine())
