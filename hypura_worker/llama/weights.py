"""Loads a model's weights by llama.cpp: from one file or its splits, by read or mmap, some into another buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import llama_cpp

from hypura.v1 import placement_pb2
from hypura_worker.errors import LoadFailed
from hypura_worker.llama import log
from hypura_worker.llama.arena import Arena
from hypura_worker.llama.library import ggml

_LAZY_OFF = 0
_MAX_TYPES = 64


class LoadMode(IntEnum):
    """How llama.cpp reads the file (llama_load_mode)."""

    PLAIN = 0
    MMAP = 1
    DIRECT = 4


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buft", ctypes.c_void_p))


def load_weights(
    plan: placement_pb2.Plan,
    mode: LoadMode,
    arena: Arena | None,
    streamed_patterns: Sequence[str],
    progress: Callable[[float], None],
) -> int:
    """The llama_model of a plan, with the tensors of these name patterns in the arena. Raises LoadFailed.

    progress is called with the share of the resident weights that were read, 0 to 1.
    """
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = plan.gpu_layers
    params.use_extra_bufts = plan.extra_buffers
    params.lazy_mode = _LAZY_OFF
    params.load_mode = mode
    # The loader counts all bytes, and reads only those of resident tensors.
    scale = plan.model_bytes / plan.resident_bytes if plan.resident_bytes else 1.0

    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def report(share: float, _: ctypes.c_void_p) -> bool:
        progress(min(1.0, share * scale))
        return True

    params.progress_callback = report
    if arena is not None:
        overrides = (_Override * (len(streamed_patterns) + 1))(
            *(_Override(pattern.encode(), arena.buffer_type) for pattern in streamed_patterns)
        )
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    handle = load_files([file.path for file in plan.files], params)
    if handle is None:
        raise LoadFailed(f"llama.cpp could not load {plan.files[0].path}: {log.last_errors()}")
    return handle


def load_files(paths: Sequence[str], params: Any) -> int | None:
    """The llama_model of one file or of its splits, on the CPU alone where params ask for no GPU layers.

    None where llama.cpp refuses it.
    """
    no_devices = (ctypes.c_void_p * 1)(None)
    if params.n_gpu_layers == 0:
        params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    names = [path.encode() for path in paths]
    if len(names) == 1:
        handle = llama_cpp.llama_model_load_from_file(names[0], params)
    else:
        handle = llama_cpp.llama_model_load_from_splits((ctypes.c_char_p * len(names))(*names), len(names), params)
    return handle or None


def type_number(name: str) -> int:
    """ggml's number of a type by its name, such as f16. Raises LoadFailed for an unknown one."""
    for number in range(_MAX_TYPES):
        found = ggml().ggml_type_name(number)
        if found is None:
            continue
        if found.decode().lower() == name.lower():
            return number
        if found == b"COUNT":
            break
    raise LoadFailed(f"ggml has no type {name!r}; use f16, q8_0 or q4_0")
