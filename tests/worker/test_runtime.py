"""The process's end together with its parent."""

from __future__ import annotations

import signal
import subprocess
import sys


def test_a_process_that_cannot_clean_up_ends_all_the_same() -> None:
    """The thread that watched the parent died of the error, and the process stayed."""
    code = "import time; from hypura_worker import runtime; runtime.end_with_parent(lambda: 1 / 0); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
