"""This machine's measured figures, put into the homes of daemons that tests start.

A daemon in a fresh home measures the machine a second after it starts, which takes all cores for half a minute. The
tests measure it once a day instead, and keep the result beside pytest's cache. Of the drives only the demo model's is
measured here: a daemon whose models lie on another one measures that one itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from hypura_daemon.hardware.store import HardwareStore

REPOSITORY = Path(__file__).parents[1]
_FOLDER = REPOSITORY / ".pytest_cache" / "hardware"
DEMO = REPOSITORY / "hypura_daemon/models/demo/hypura-demo-18m-q4_k.gguf"
_KEPT_SECONDS = 86400.0


def measure_nothing(home: Path) -> None:
    """A daemon that starts in this home finds the machine measured."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "hardware.json").write_bytes(_measured())


@cache
def _measured() -> bytes:
    """The file's content, read under the lock: another pytest may measure meanwhile, or delete an old file."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    file = _FOLDER / "hardware.json"
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists() and time.time() - file.stat().st_mtime > _KEPT_SECONDS:
            file.unlink()
        command = [sys.executable, "-m", "tests.hardware"]
        ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert ended.returncode == 0, f"the machine cannot be measured:\n{ended.stdout}{ended.stderr}"
        return file.read_bytes()


async def _measure() -> None:
    """What is kept of this boot, processor and llama-cpp-python is not measured again."""
    store = HardwareStore(_FOLDER)
    await store.profile(DEMO)


if __name__ == "__main__":
    asyncio.run(_measure())
