"""A daemon of its own, with the bundled demo model and no other program's stores."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypura_client.errors import CannotConnect
from hypura_client.sync import Client
from tests.hardware import measure_nothing

START_SECONDS = 60


@dataclass(frozen=True)
class RunningDaemon:
    """address: the gateway's, as http://host:port."""

    address: str
    socket: Path


@contextmanager
def running_daemon() -> Iterator[RunningDaemon]:
    """It ends with the block, and its home goes."""
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        home = Path(name)
        measure_nothing(home)
        stores = {key: str(home / "none") for key in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HYPURA_LM_STUDIO")}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYPURA_", "OLLAMA_", "HF_"))}
        environment = {**kept, **stores, "HYPURA_HOME": name, "HYPURA_HTTP": "127.0.0.1:0", "HOME": name}
        with (home / "log").open("wb") as log:
            daemon = subprocess.Popen([sys.executable, "-m", "hypura_daemon"], env=environment, stderr=log)
        try:
            yield _started(daemon, home)
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _started(daemon: subprocess.Popen[bytes], home: Path) -> RunningDaemon:
    control = home / "run" / "control.sock"
    deadline = time.monotonic() + START_SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        try:
            with Client(control) as client:
                if told := client.status().daemon.http_address:
                    return RunningDaemon(f"http://{told}", control)
        except CannotConnect:
            pass
        time.sleep(0.1)
    raise AssertionError((home / "log").read_text())
