"""The `ollama` package from npm."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compatibility.conftest import MODEL

SCRIPT = Path(__file__).with_name("ollama_js.mjs")


@pytest.mark.skipif(shutil.which("npm") is None, reason="no Node.js here, which the npm client needs")
def test_ollama_js(address: str, tmp_path: Path) -> None:
    script = shutil.copy(SCRIPT, tmp_path)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), "ollama@^0.6"]
    subprocess.run(npm, check=True, timeout=240, capture_output=True)
    environment = os.environ | {"OLLAMA_HOST": address}
    ran = subprocess.run(["node", script, MODEL], env=environment, timeout=240, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
