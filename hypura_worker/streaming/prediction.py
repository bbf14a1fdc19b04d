"""What is learned of a model's routing while it runs, and the file that keeps it for the next load.

The arrays of prediction.c:

    Likelihood     how likely each expert is to be chosen again; replacement/learned.py says how and why
    Coactivation   which experts of a layer follow which of the layer before
    Confidence     how probable it is that a prediction comes true

The file holds what a model's experts were worth when it was last unloaded, kilobytes, for its next load:

    magic · layers · experts (little endian, 4 bytes each) · one byte per expert, layer by layer

The byte is the expert's likelihood on a scale of decades: 0 is 0.0001, 255 is 1.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from ctypes import c_float, c_int32, c_size_t, c_void_p
from pathlib import Path

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt
import structlog

from hypura_worker.llama.library import mirrors

_HEADER = struct.Struct("<8sII")
_MAGIC = b"hypura1\n"
_DECADES = 4.0
_AVERAGES, _PRIOR_EXPERTS = 10, 80_000.0
EVIDENCE = 4
_UNLEARNED = (-0.5, 1.0, 0.0, 1.0)
"""Weights of: 1, the router's margin, the likelihood, the lift by co-activation."""


@mirrors("hypura_likelihood")
class LikelihoodState(ctypes.Structure):
    """hypura_likelihood."""

    _fields_ = (
        ("layers", c_int32),
        ("experts", c_int32),
        ("per_token", c_int32),
        ("averages", c_void_p),
        ("likelihood", c_void_p),
        ("visited", c_void_p),
        ("scratch", c_void_p),
        ("weights", c_float * _AVERAGES),
        ("prior", ctypes.c_double),
        ("seen", ctypes.c_double * _AVERAGES * _AVERAGES),
        ("answers", ctypes.c_double * _AVERAGES),
    )


class Likelihood:
    """How likely each expert is to be chosen again; `by_layer` is [layers, experts]."""

    def __init__(self, layers: int, experts: int, per_token: int) -> None:
        base = per_token / experts
        self._averages = np.full((layers, _AVERAGES, experts), base, np.float32)
        self.by_layer = np.full((layers, experts), base, np.float32)
        self._visited = np.zeros(layers, np.uint8)
        self._scratch = np.zeros((2, experts), np.float32)
        self.state = LikelihoodState(
            layers=layers,
            experts=experts,
            per_token=per_token,
            averages=self._averages.ctypes.data,
            likelihood=self.by_layer.ctypes.data,
            visited=self._visited.ctypes.data,
            scratch=self._scratch.ctypes.data,
            prior=_PRIOR_EXPERTS * base**2,
        )
        uses = _AVERAGES - 2
        self.state.weights[:uses] = [1 / uses] * uses

    def recall(self, known: npt.NDArray[np.float32]) -> None:
        """Begin with what an earlier run found, [layers, experts]: every average starts with it."""
        self.by_layer[:] = known
        self._averages[:] = known[:, np.newaxis]


@mirrors("hypura_coactivation")
class CoactivationState(ctypes.Structure):
    """hypura_coactivation."""

    _fields_ = (
        ("experts", c_int32),
        ("last", c_int32),
        ("last_tokens", c_int32),
        ("last_per_token", c_int32),
        ("pairs", c_void_p),
        ("leads", c_void_p),
        ("follows", c_void_p),
        ("tokens", c_void_p),
        ("ids", c_void_p),
        ("ids_capacity", c_size_t),
    )


class Coactivation:
    """Counts of one load; a layer's table takes memory when the layer is first visited.

    layers, experts: as many as the model has, at most; per_token: how many of them a token chooses.
    """

    def __init__(self, layers: int, experts: int, per_token: int) -> None:
        self._pairs = np.zeros((layers, experts, experts), np.uint16)
        self._leads = np.zeros((layers, experts), np.float32)
        self._follows = np.full((layers, experts), per_token / experts, np.float32)
        self._tokens = np.ones(layers, np.float32)
        self.state = CoactivationState(
            experts=experts,
            last=-1,
            pairs=self._pairs.ctypes.data,
            leads=self._leads.ctypes.data,
            follows=self._follows.ctypes.data,
            tokens=self._tokens.ctypes.data,
        )


@mirrors("hypura_confidence")
class Confidence(ctypes.Structure):
    """hypura_confidence."""

    _fields_ = (("weights", c_float * EVIDENCE), ("squares", c_float * EVIDENCE))

    @classmethod
    def unlearned(cls) -> Confidence:
        """For a layer about which nothing is known yet."""
        return cls(_UNLEARNED)


def save_likelihood(path: Path, likelihood: npt.NDArray[np.float32]) -> None:
    """Write [layers, experts] likelihoods to the file, whole or, with a warning, not at all."""
    scaled = 255 * (1 + np.log10(np.clip(likelihood, 10**-_DECADES, 1)) / _DECADES)
    data = _HEADER.pack(_MAGIC, *likelihood.shape) + np.rint(scaled).astype(np.uint8).tobytes()
    try:
        _write(path, data)
    except OSError as error:
        structlog.get_logger().warning("expert statistics cannot be saved", path=str(path), error=str(error))


def load_likelihood(path: Path, layers: int, experts: int) -> npt.NDArray[np.float32] | None:
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
