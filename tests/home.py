"""A daemon's home and its models, and hypuractl in its environment: the first command starts the daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.hardware import measure_nothing
from tests.models.writer import write_synthetic_model

HYPURACTL = (sys.executable, "-m", "hypura_client.cli.main")
COMMAND_SECONDS = 240


class Home:
    """One daemon's. models: the folder where the test keeps model files; commands name them by their path."""

    def __init__(self, folder: Path) -> None:
        measure_nothing(folder / "home")
        self.models = folder / "models"
        self.models.mkdir()
        self.environment = os.environ | {"HYPURA_HOME": str(folder / "home"), "HYPURA_HTTP": "127.0.0.1:0"}
        self.environment.pop("HYPURA_SOCKET", None)

    @property
    def moe(self) -> str:
        """The path of the model that write_tiny_models wrote; it has experts."""
        return str(self.models / "tiny-moe.gguf")

    @property
    def dense(self) -> str:
        """The path of the model that write_tiny_models wrote; it has no experts."""
        return str(self.models / "tiny-dense.gguf")

    def write_tiny_models(self) -> None:
        """Two synthetic models of some megabytes."""
        for shape in ("tiny-moe", "tiny-dense"):
            write_synthetic_model(shape, self.models / f"{shape}.gguf")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A hypuractl command that runs."""
        return subprocess.Popen(
            [*HYPURACTL, *arguments],
            env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A hypuractl command that has ended."""
        return subprocess.run(
            [*HYPURACTL, *arguments], env=self.environment, text=True, capture_output=True, timeout=COMMAND_SECONDS
        )

    def call(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The JSON object that a command prints."""
        ended = self.run(*arguments, "--json")
        assert ended.returncode == code, (ended.stdout, ended.stderr)
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    def state(self, name: str) -> dict[str, Any]:
        """The model's entry in the status."""
        return next(m for m in self.call("status")["models"] if m["name"] == name)

    def stop(self) -> None:
        """End the daemon, without waiting for answers."""
        ended = self.run("stop", "--grace", "0")
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
