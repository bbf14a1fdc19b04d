"""How sure a guess is before and while the model runs: the mirror of certainty.c's state."""

from __future__ import annotations

import ctypes
from ctypes import c_float

from hypura_worker.llama.library import mirrors

EVIDENCE = 4
_UNLEARNED = (-0.5, 1.0, 0.0, 1.0)
"""Weights of: 1, the router's margin, the likelihood, the lift by co-activation."""


@mirrors("hypura_certainty")
class Certainty(ctypes.Structure):
    """hypura_certainty."""

    _fields_ = (("weights", c_float * EVIDENCE), ("squares", c_float * EVIDENCE))

    @classmethod
    def unlearned(cls) -> Certainty:
        """Of a layer about which nothing is known yet."""
        return cls(_UNLEARNED)
