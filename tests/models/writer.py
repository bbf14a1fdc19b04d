"""Writes a synthetic model file: header, then tensors streamed to disk in constant memory."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.models.header import header_bytes, padded
from tests.models.shapes import Quant, shape_named
from tests.models.tensors import Tensor, tensors_of
from tests.models.weights import WeightSource

_POOL_BYTES = 64 << 20
_PROGRESS_SECONDS = 0.5


class DiskFull(OSError):
    """The model would not fit on the disk."""


def write_synthetic_model(
    shape_name: str,
    path: Path,
    *,
    layers: int | None = None,
    seed: int = 1,
    quant: Quant = "mixed",
    progress: bool = False,
) -> int:
    """Write a model of the named shape and return its size in bytes.

    The file appears under its name only when it is whole; a part is removed on any failure. Raises ValueError
    for an unknown shape or layer count, DiskFull when the disk has less than the model needs.
    """
    shape = shape_named(shape_name, layers)
    tensors = tensors_of(shape, quant)
    header = header_bytes(shape, quant, tensors)
    total_bytes = len(header) + sum(padded(tensor.size_bytes) for tensor in tensors)
    _check_space(path, total_bytes)
    largest_bytes = max(tensor.size_bytes for tensor in tensors)
    source = WeightSource(seed, min(_POOL_BYTES, 2 * largest_bytes))
    with _whole_or_nothing(path) as file:
        file.write(header)
        written_bytes = len(header)
        started = told = time.monotonic()
        for tensor in tensors:
            _write_tensor(file, tensor, source)
            written_bytes += padded(tensor.size_bytes)
            now = time.monotonic()
            if progress and (now - told > _PROGRESS_SECONDS or tensor is tensors[-1]):
                told = now
                _tell(path, written_bytes, total_bytes, now - started)
    if progress:
        print(file=sys.stderr)
    return total_bytes


def _check_space(path: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < needed_bytes:
        raise DiskFull(
            f"{path} needs {needed_bytes / 1e9:.2f} GB and {path.parent} has {free_bytes / 1e9:.2f} GB free; "
            "free some space, name another disk, or ask for fewer layers"
        )


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[BinaryIO]:
    partial = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            # A benchmark that follows must not compete with the write-back of its own model.
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # Ctrl-C too: half a model is many gigabytes of nothing
        partial.unlink(missing_ok=True)
        raise


def _write_tensor(file: BinaryIO, tensor: Tensor, source: WeightSource) -> None:
    blocks = tensor.values // tensor.type.block_values
    for chunk in source.chunks(tensor.type, blocks, tensor.mean, tensor.std):
        file.write(chunk)
    file.write(bytes(padded(tensor.size_bytes) - tensor.size_bytes))


def _tell(path: Path, written_bytes: int, total_bytes: int, seconds: float) -> None:
    rate = written_bytes / 1e9 / max(seconds, 1e-3)
    print(
        f"\r{path.name}: {written_bytes / 1e9:.2f} of {total_bytes / 1e9:.2f} GB, {rate:.2f} GB/s",
        end="",
        file=sys.stderr,
        flush=True,
    )
