"""A hypura daemon of its own, in a temporary home, that ends with the `with`."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypura_client.errors import CannotConnect
from hypura_client.sync import Client

_START_SECONDS = 60.0
_END_SECONDS = 30.0


@contextmanager
def own_daemon() -> Iterator[Client]:
    """A client of a daemon that sees none of the user's models. Raises RuntimeError, with its log, if none starts."""
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        home = Path(name)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HYPURA_")}
        environment = {**kept, "HYPURA_HOME": name, "HYPURA_HTTP": "127.0.0.1:0", "HYPURA_STORES": "none"}
        with (home / "log").open("wb") as log:
            daemon = subprocess.Popen([sys.executable, "-m", "hypura_daemon"], env=environment, stderr=log)
        try:
            with Client(home / "run" / "control.sock") as client:
                _await_start(daemon, client, home / "log")
                yield client
        finally:
            daemon.terminate()
            try:
                daemon.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _await_start(daemon: subprocess.Popen[bytes], client: Client, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while daemon.poll() is None and time.monotonic() < deadline:
        try:
            client.status()
            return
        except CannotConnect:
            time.sleep(0.1)
    raise RuntimeError(f"the daemon did not start within {_START_SECONDS:.0f} s:\n{log.read_text(errors='replace')}")
