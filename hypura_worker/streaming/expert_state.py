"""The state of expert streaming as the compiled hook sees it: mirrors of its structs, and the memory behind them."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_float, c_int32, c_int64, c_uint64, c_void_p

import numpy as np
import numpy.typing as npt

from hypura_worker.llama.library import mirrors
from hypura_worker.streaming.prediction import EVIDENCE, Confidence
from hypura_worker.streaming.reader import Batch

MAX_WEIGHTS, MAX_PARTS, MAX_PREDICTED = 4, 12, 32
LOOKAHEADS = 2
READ_FAILED, GUARD, NO_SLOTS, NO_EXPERT, NO_MEMORY, MISREAD, NOT_COMPUTED = range(1, 8)


@mirrors("hypura_part")
class Part(ctypes.Structure):
    """hypura_part: one tensor's share of the experts of a layer."""

    _fields_ = (
        ("tensor", c_void_p),
        ("pool", c_void_p),
        ("stride_bytes", c_int64),
        ("shift_bytes", c_int64),
        ("slice_bytes", c_int64),
        ("offset_bytes", c_int64),
        ("step_bytes", c_int64),
        ("rows", c_void_p),
        ("fd", c_int32),
        ("bounce", c_int32),
    )


@mirrors("hypura_slot")
class Slot(ctypes.Structure):
    """hypura_slot: room for one expert."""

    _fields_ = (
        ("layer", c_int32),
        ("expert", c_int32),
        ("last_used", c_uint64),
        ("prefetched", c_int32),
        ("reading", c_int32),
        ("demand_parts", c_int32),
        ("reserved", c_int32),
        ("parts", Batch * MAX_WEIGHTS),
    )


@mirrors("hypura_group")
class Group(ctypes.Structure):
    """hypura_group: layers that share slots."""

    _fields_ = (
        ("slots", c_int32),
        ("usable", c_int32),
        ("classes", c_int32),
        ("reserved", c_int32),
        ("slot", ctypes.POINTER(Slot)),
    )


@mirrors("hypura_router")
class Router(ctypes.Structure):
    """hypura_router, which the hook fills in."""

    _fields_ = (
        ("weights", c_void_p),
        ("rows", c_void_p),
        ("scales", c_void_p),
        ("logit_bias", c_void_p),
        ("choice_bias", c_void_p),
        ("norm", c_void_p),
        ("width", c_int32),
        ("gating", c_int32),
    )


@mirrors("hypura_lookahead")
class Lookahead(ctypes.Structure):
    """hypura_lookahead: a layer's router applied to an earlier hidden state, and what that predicts."""

    _fields_ = (
        ("logits", c_void_p),
        ("logit_shift", c_void_p),
        ("shift_tokens", c_int32),
        ("fresh", c_int32),
        ("reserved", c_int32),
        ("predicted_count", c_int32),
        ("predicted", c_int32 * MAX_PREDICTED),
        ("evidence", c_float * EVIDENCE * MAX_PREDICTED),
        ("confidence", Confidence),
    )


@mirrors("hypura_layer")
class Layer(ctypes.Structure):
    """hypura_layer."""

    _fields_ = (
        ("experts", c_int32),
        ("streamed_index", c_int32),
        ("next_streamed", c_int32),
        ("may_hold_prefetches", c_int32),
        ("slot_of", c_void_p),
        ("group", ctypes.POINTER(Group)),
        ("expert_bytes", c_int64),
        ("weight_count", c_int32),
        ("part_count", c_int32),
        ("parts", Part * MAX_PARTS),
        ("read_order", c_int32 * MAX_WEIGHTS),
        ("ordered_count", c_int32),
        ("tokens_since_miss", c_int32),
        ("router", Router),
        ("lookahead", Lookahead * LOOKAHEADS),
    )


@mirrors("hypura_experts_figures")
class Figures(ctypes.Structure):
    """hypura_experts_figures: counters since the load, and why the last pass failed."""

    _fields_ = (
        ("hits", c_uint64),
        ("misses", c_uint64),
        ("prefetched_bytes", c_uint64),
        ("prefetched_used_bytes", c_uint64),
        ("hook_ns", c_uint64),
        ("rows_apart", c_uint64),
        ("failed", c_int32),
        ("failed_layer", c_int32),
        ("failed_expert", c_int32),
        ("error", c_int32),
        ("guard", c_char * 136),
    )


@mirrors("hypura_experts")
class Experts(ctypes.Structure):
    """hypura_experts: the context of the callbacks."""

    _fields_ = (
        ("ggml", c_void_p),
        ("arena", c_void_p),
        ("reader", c_void_p),
        ("layers", c_void_p),
        ("layer_count", c_int32),
        ("streamed_count", c_int32),
        ("per_token", c_int32),
        ("layer_outputs_known", c_int32),
        ("likelihood", c_void_p),
        ("coactivation", c_void_p),
        ("products", c_void_p),
        ("figures", Figures),
        ("clock", c_uint64),
        ("current", c_int32),
        ("visit_tokens", c_int32),
        ("learning", c_void_p),
        ("warming", c_int32),
        ("unused", c_int32),
        ("rewritten", c_void_p),
        ("ids", c_void_p),
        ("ids_capacity", c_int64),
        ("chosen", c_void_p),
        ("chosen_count", c_int32),
        ("reserved", c_int32),
        ("probabilities", c_void_p),
        ("probabilities_capacity", c_int64),
        ("scores", c_void_p),
        ("lift", c_void_p),
        ("state", c_void_p),
        ("input", c_void_p),
        ("state_capacity", c_int64),
        ("votes", c_void_p),
        ("to_read", c_void_p),
        ("candidates", c_void_p),
        ("is_chosen", c_void_p),
        ("least_confidence", c_float),
        ("drive_busy", c_float),
        ("paced_at_ns", c_uint64),
        ("paced_busy_ns", c_uint64),
        ("voted_layer", c_int32),
        ("unvoted_count", c_float),
        ("unvoted_chosen", c_float),
    )


class Scratch:
    """Memory for what the hook computes during one visit; candidates are 8 bytes each."""

    def __init__(self, experts: int) -> None:
        self._integers: npt.NDArray[np.int32] = np.zeros((6, experts), np.int32)
        self._floats: npt.NDArray[np.float32] = np.zeros((2, experts), np.float32)
        self._is_chosen = np.zeros(experts, np.uint8)

    def attach(self, state: Experts) -> None:
        """Have the state point here; this object must outlive it."""
        state.chosen, state.votes, state.to_read, state.candidates = (self._integers[i].ctypes.data for i in range(4))
        state.scores, state.lift = (self._floats[i].ctypes.data for i in range(2))
        state.is_chosen = self._is_chosen.ctypes.data
