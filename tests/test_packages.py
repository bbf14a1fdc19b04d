"""An editable install finds every folder; a wheel only what pyproject.toml lists."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_in_the_wheel() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    there = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("hypura_client", "hypura_daemon", "hypura_worker")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert len(listed) == len(set(listed))
    assert {
        name for name in listed if name.split(".")[0] in {"hypura_client", "hypura_daemon", "hypura_worker"}
    } == there
