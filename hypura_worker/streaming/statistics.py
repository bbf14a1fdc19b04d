"""What a model's experts were worth when it was last unloaded: kilobytes, kept for its next load.

    magic · layers · experts (little endian, 4 bytes each) · one byte per expert, layer by layer

The byte is the expert's likelihood on a scale of decades: 0 is 0.0001, 255 is 1.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

_HEADER = struct.Struct("<8sII")
_MAGIC = b"hypura1\n"
_DECADES = 4.0


def save(path: Path, likelihood: npt.NDArray[np.float32]) -> None:
    """Write [layers, experts] likelihoods to the file, whole or, with a warning, not at all."""
    scaled = 255 * (1 + np.log10(np.clip(likelihood, 10**-_DECADES, 1)) / _DECADES)
    data = _HEADER.pack(_MAGIC, *likelihood.shape) + np.rint(scaled).astype(np.uint8).tobytes()
    try:
        _write(path, data)
    except OSError as error:
        structlog.get_logger().warning("expert statistics cannot be kept", path=str(path), error=str(error))


def load(path: Path, layers: int, experts: int) -> npt.NDArray[np.float32] | None:
    """The likelihoods [layers, experts]; None if there are none, of another model, or, with a warning, unreadable."""
    wanted = _HEADER.size + layers * experts
    try:
        with path.open("rb") as file:
            data = file.read(wanted + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        structlog.get_logger().warning("expert statistics cannot be read", path=str(path), error=str(error))
        return None
    if len(data) != wanted or _HEADER.unpack_from(data) != (_MAGIC, layers, experts):
        return None
    steps = np.frombuffer(data, np.uint8, offset=_HEADER.size).astype(np.float32)
    return (10 ** (_DECADES * (steps / 255 - 1))).reshape(layers, experts).astype(np.float32)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
