"""The drive's bandwidth, measured by a process that reads the model's file directly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypura.json_lines import from_line
from hypura.v1.tools_pb2 import DriveLine, DriveReading
from hypura_client.errors import HypuraError

MIB = 1 << 20
QUICK = ((MIB, 1, 2), (MIB, 1, 4), (4 * MIB, 1, 4), (4 * MIB, 1, 8))
"""(block bytes, reads in flight per thread, threads) where drives reach their limit."""
_QUICK_SECONDS = 0.5
_END_SECONDS = 10.0


class DriveUnreadable(HypuraError):
    """The file cannot be read to measure its drive."""


def sweep(file: Path, points: Sequence[tuple[int, int, int]], seconds: float) -> Iterator[DriveReading]:
    """Yields each point's reading as it is measured, for `seconds` each. Raises DriveUnreadable."""
    point_arguments = [part for point in points for part in ("--point", ":".join(map(str, point)))]
    command = [
        sys.executable,
        "-P",
        "-m",
        "hypura_worker.tools.drive",
        str(file),
        "--seconds",
        f"{seconds:g}",
        *point_arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                found = from_line(DriveLine, line)
                if found.HasField("error"):
                    raise DriveUnreadable(found.error)
                yield found.reading
        finally:
            process.terminate()
            process.wait(_END_SECONDS)


def bandwidth(file: Path) -> float | None:
    """The best of a few points, in two seconds; None for a file too small to measure."""
    return max((reading.bytes_per_second for reading in sweep(file, QUICK, _QUICK_SECONDS)), default=None)
