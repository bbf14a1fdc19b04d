"""What likelihood.c keeps, in numpy arrays; replacement/learned.py, its twin, says what it does and why."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_void_p

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt

from hypura_worker.llama.library import mirrors

_AVERAGES, _PRIOR_EXPERTS = 10, 80_000.0


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
        """Begin with what an earlier run found, [layers, experts]: every average says the same."""
        self.by_layer[:] = known
        self._averages[:] = known[:, np.newaxis]
