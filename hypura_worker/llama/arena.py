"""The loader's side of streaming: streamed tensors get addresses, but no bytes are read."""

from __future__ import annotations

import ctypes

import llama_cpp  # noqa: F401 - before numpy
import numpy as np
import numpy.typing as npt

from hypura_worker.errors import LoadFailed
from hypura_worker.llama.library import cpu_device, ggml_calls, hook, mirrors


@mirrors("hypura_arrival")
class _Arrival(ctypes.Structure):
    """hypura_arrival of arena.h."""

    _fields_ = (("tensor", ctypes.c_void_p), ("name", ctypes.c_char * 64))


class Arena:
    """A ggml buffer type for streamed tensors.

    Give `buffer_type` to the loader by tensor_buft_overrides; after the load, `finish_load` returns the tensors that
    the loader put here. Free the arena after the model.
    """

    def __init__(self) -> None:
        self._hook = hook()
        handle = self._hook.hypura_arena_new(ctypes.addressof(ggml_calls()), cpu_device())
        if not handle:
            raise MemoryError("no memory for the streaming buffer type")
        self.handle: int = handle

    @property
    def buffer_type(self) -> int:
        """The ggml_backend_buffer_type_t."""
        return int(self._hook.hypura_arena_type(self.handle))

    def finish_load(self) -> list[tuple[str, int]]:
        """Give the tensors their names back; returns (name, address) of each.

        Raises LoadFailed if the loader used bytes of a streamed tensor.
        """
        self._hook.hypura_arena_restore_names(self.handle)
        if self._hook.hypura_arena_misuse(self.handle):
            raise LoadFailed("llama.cpp's loader wrote to a streamed tensor; run this model resident")
        count = self._hook.hypura_arena_count(self.handle)
        if count == 0:
            return []
        arrivals = (_Arrival * count).from_address(self._hook.hypura_arena_arrivals(self.handle))
        return [(arrival.name.decode(), arrival.tensor) for arrival in arrivals]

    def gather(self, tensor: int) -> None:
        """Have the hook stop every pass that uses this tensor in any way other than gathering its tokens' rows."""
        if not self._hook.hypura_arena_gather(self.handle, tensor):
            raise LoadFailed("this model has more embedding tensors than hypura can stream")

    def expect(self, tokens: npt.NDArray[np.int32]) -> None:
        """The rows of these distinct tokens, in rising order, are in memory: the next pass may gather them."""
        self._tokens = tokens
        self._hook.hypura_arena_expect(self.handle, tokens.ctypes.data, tokens.size)

    def free(self) -> None:
        """After the model is freed."""
        self._hook.hypura_arena_free(self.handle)
