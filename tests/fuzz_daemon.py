"""Damages a registered model's header and has a running daemon describe it, again and again.

    python tests/fuzz_daemon.py [--count 1000] [--seed 1]

Starts a daemon of its own. Each `show` must be answered within seconds with a description or an
error; the daemon must stay the same process and below MEMORY_BYTES.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from hypura_client.discovery import locate
from hypura_client.errors import DaemonError
from hypura_client.launch import start_daemon
from hypura_client.sync import Client
from tests.fuzz_headers import mutations, sample_model, split_header
from tests.hardware import measure_nothing

HANG_SECONDS = 5.0
MEMORY_BYTES = 200_000_000


def main() -> int:
    """The exit code is 0 when every answer was one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hypura-fuzz-") as folder:
        return fuzz(Path(folder), options.count, options.seed)


def fuzz(folder: Path, count: int, seed: int) -> int:
    """Damage a model in `folder` count times; 0 when the daemon bore it."""
    environment = os.environ | {"HYPURA_HOME": str(folder / "home"), "HYPURA_HTTP": "127.0.0.1:0"}
    environment.pop("HYPURA_SOCKET", None)
    measure_nothing(folder / "home")
    location = locate(environment)
    start_daemon(location, environment)
    path = folder / "model.gguf"
    sample_model(path)
    header, data_bytes = split_header(path)
    described = refused = 0
    slowest_seconds, most_bytes = 0.0, 0
    try:
        with Client(location.socket_path) as client:
            [model] = client.add(path).models
            daemon = psutil.Process(client.status().daemon.pid)
            started = daemon.create_time()
            for damaged in mutations(header, count, seed):
                path.write_bytes(damaged)
                os.truncate(path, len(damaged) + data_bytes)
                asked = time.monotonic()
                try:
                    client.show(model.name)
                    described += 1
                except DaemonError as error:
                    refused += 1
                    if not str(error):
                        raise RuntimeError("an error without a message") from error
                slowest_seconds = max(slowest_seconds, time.monotonic() - asked)
                most_bytes = max(most_bytes, daemon.memory_info().rss)
            alive = daemon.is_running() and daemon.create_time() == started
    finally:
        subprocess.run(
            [sys.executable, "-m", "hypura_client.cli.main", "stop"], env=environment, timeout=60, check=False
        )
    print(
        f"{count} damaged headers: {described} described, {refused} refused; slowest {slowest_seconds * 1000:.0f} ms, "
        f"daemon at most {most_bytes / 1e6:.0f} MB, {'alive' if alive else 'DEAD'}"
    )
    return 0 if alive and slowest_seconds < HANG_SECONDS and most_bytes < MEMORY_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
