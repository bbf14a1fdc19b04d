"""What reading costs computing: a model that is all in memory decodes, alone and while its file is read beside it.

    python -m tests.bench.beside MODEL.gguf [--rates 1,2,3] [--rounds 8]

The model is not streamed and what is read is not used: what a token takes longer then, a streamed model with as many
bytes to read loses too, on this machine and drive, however well it is foreseen. Rates alternate, five tokens each;
times are means, since what a host takes from a virtual machine comes in bursts. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import psutil
import structlog

from hypura.v1 import placement_pb2 as pb
from hypura_worker.llama.context import BatchToken
from hypura_worker.loaded_model import LlamaModel
from hypura_worker.streaming.pool import Pool
from tests.worker.plans import make_plan

_READERS = 4  # as plans have it
_READ_BYTES = 880 << 10  # a third of an expert of Qwen3-30B-A3B
_BLOCK = 4096
_PLACES = 64  # to read to, each thread
_IDLE_SECONDS = 0.01
_TOKENS = 5
_WARM_TOKENS = 30
_SYSTEM = ("system", "softirq", "steal")


class Load:
    """A process whose threads read random parts of a file at a rate, past the page cache."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._rate = context.Value("d", 0.0, lock=False)
        self._read = context.Array("q", _READERS, lock=False)
        self._process = context.Process(target=_read_on, args=(path, self._rate, self._read), daemon=True)
        self._process.start()

    @property
    def bytes_read(self) -> int:
        """Since the start. Raises RuntimeError when the process has ended, its own error shown."""
        if not self._process.is_alive():
            raise RuntimeError("the process that reads the file has ended")
        return sum(self._read)

    def at(self, bytes_per_second: float) -> None:
        """From now on; 0 for none."""
        self._rate.value = bytes_per_second


def _read_on(path: Path, rate: Any, read: Any) -> None:
    """Until the process ends: rate (bytes per second) is looked at, and read told, by each of the threads."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    blocks = (path.stat().st_size - _READ_BYTES) // _BLOCK
    room = memoryview(Pool(_READERS * _READ_BYTES * _PLACES).bytes.data)

    def work(number: int) -> None:
        random, due = Random(number), time.monotonic()
        while True:
            if rate.value == 0:
                time.sleep(_IDLE_SECONDS)
                due = time.monotonic()
                continue
            due = max(due + _READERS * _READ_BYTES / (rate.value or 1e9), time.monotonic() - _IDLE_SECONDS)
            place = (number * _PLACES + random.randrange(_PLACES)) * _READ_BYTES
            into = room[place : place + _READ_BYTES]
            read[number] += os.preadv(descriptor, [into], random.randrange(blocks) * _BLOCK)
            time.sleep(max(0.0, due - time.monotonic()))

    with ThreadPoolExecutor(_READERS) as threads:
        list(threads.map(work, range(_READERS)))


@dataclass
class Seen:
    """At one rate: seconds of each token, bytes read meanwhile, and seconds of all processors in the system."""

    seconds: list[float] = field(default_factory=list)
    bytes_read: int = 0
    system: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def measure(path: Path, rates: list[float], rounds: int) -> dict[float, Seen]:
    """By rate, in bytes per second; 0, nothing read beside, is always among them."""
    load = Load(path)
    model = LlamaModel(make_plan(path, pb.MODE_RESIDENT, context_tokens=4096, exact=False))
    context, random, position = model.ready(), np.random.default_rng(3), 0

    def token() -> float:
        nonlocal position
        began = time.perf_counter()
        context.decode([BatchToken(int(random.integers(100, 15000)), position, 0, True)])
        position += 1
        return time.perf_counter() - began

    for _ in range(_WARM_TOKENS):
        token()
    seen: dict[float, Seen] = {rate: Seen() for rate in (0.0, *rates)}
    for _ in range(rounds):
        for rate, found in seen.items():
            load.at(rate)
            token()
            bytes_before, before = load.bytes_read, psutil.cpu_times()
            found.seconds += [token() for _ in range(_TOKENS)]
            found.bytes_read += load.bytes_read - bytes_before
            after = psutil.cpu_times()
            for name in _SYSTEM:
                found.system[name] += getattr(after, name) - getattr(before, name)
        load.at(0)
    return seen


def report(seen: dict[float, Seen]) -> list[dict[str, object]]:
    """Per rate: milliseconds a token, and what it lost to the reads."""
    alone = float(np.mean(seen[0.0].seconds))
    rows: list[dict[str, object]] = []
    for found in seen.values():
        tokens, mean = len(found.seconds), float(np.mean(found.seconds))
        megabytes = found.bytes_read / tokens / 1e6
        rows.append(
            {
                "read_bytes_per_second": found.bytes_read / sum(found.seconds),
                "read_megabytes_per_token": megabytes,
                "milliseconds_per_token": 1e3 * mean,
                "median_milliseconds_per_token": 1e3 * float(np.median(found.seconds)),
                "lost_milliseconds_per_megabyte": 1e3 * (mean - alone) / megabytes if megabytes else 0.0,
                **{f"{name}_milliseconds_per_token": 1e3 * found.system[name] / tokens for name in _SYSTEM},
            }
        )
    return rows


def main() -> None:
    """Measure and print one JSON array, an object for each rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rates", default="1,2,3", help="GB per second, by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    rates = [float(rate) * 1e9 for rate in asked.rates.split(",")]
    print(json.dumps(report(measure(asked.model, rates, asked.rounds)), indent=1), flush=True)


if __name__ == "__main__":
    main()
