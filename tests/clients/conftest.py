"""One daemon with the demo model, for clients that know nothing of hypura."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypura_client.errors import CannotConnect
from hypura_client.sync import Client

MODEL = "demo"
START_SECONDS = 60


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """http://host:port of a daemon of its own."""
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        home = Path(name)
        stores = {key: str(home / "none") for key in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HYPURA_LM_STUDIO")}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYPURA_", "OLLAMA_", "HF_"))}
        environment = {**kept, **stores, "HYPURA_HOME": name, "HYPURA_HTTP": "127.0.0.1:0", "HOME": name}
        with (home / "log").open("wb") as log:
            daemon = subprocess.Popen([sys.executable, "-m", "hypura_daemon"], env=environment, stderr=log)
        try:
            yield _address(daemon, home)
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _address(daemon: subprocess.Popen[bytes], home: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        try:
            with Client(home / "run" / "control.sock") as client:
                if told := client.status().daemon.http_address:
                    return f"http://{told}"
        except CannotConnect:
            pass
        time.sleep(0.1)
    raise AssertionError((home / "log").read_text())
