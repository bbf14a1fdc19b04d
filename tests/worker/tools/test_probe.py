"""What the probe takes for a worker; tests/daemon/hardware has its report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.process import worker

_PACKAGES = ("hypura.", "hypura_worker.", "llguidance", "llama_cpp", "grpc_health")


def test_the_base_memory_is_of_all_that_a_worker_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: the probe no longer imported the service, and plans counted the process some megabytes too small."""
    code = (
        "import sys; from hypura_worker.tools.probe import worker_base_bytes; worker_base_bytes(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    log = tmp_path / "imports"
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    # To a file: a pipe that nobody reads would hold up the worker.
    with worker(tmp_path, ("sh", "-c", 'exec "$@" 2> "$0"', str(log))):
        lines = [line for line in log.read_text().splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    of_worker = {name for name in imported if name.startswith(_PACKAGES)}
    assert {"hypura_worker.service", "hypura_worker.constraining.matcher"} <= of_worker
    assert of_worker <= set(done.stdout.split())
