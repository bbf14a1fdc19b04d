"""What coactivation.c keeps, in numpy arrays: which experts of a layer follow which of the layer before."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_size_t, c_void_p

import llama_cpp  # noqa: F401 - before numpy
import numpy as np

from hypura_worker.llama.library import mirrors


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
