"""Where a context's KV cache lies, and how much of it was ever filled."""

from __future__ import annotations

import ctypes

from hypura_worker.llama.library import ggml_calls, hook, mirrors

_MOST_TENSORS = 1024  # HYPURA_MAX_KV


@mirrors("hypura_kv_tensor")
class _Tensor(ctypes.Structure):
    """hypura_kv_tensor of hook.h."""

    _fields_ = (("data", ctypes.c_void_p), ("token_bytes", ctypes.c_int64), ("tokens", ctypes.c_int64))


@mirrors("hypura_kv")
class _State(ctypes.Structure):
    """hypura_kv of hook.h."""

    _fields_ = (
        ("ggml", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("tensors", _Tensor * _MOST_TENSORS),
    )


class KvMemory:
    """What of K and V of all layers lies in this process's memory token by token.

    Empty until a hook was handed `handle` for a pass that only shows the graph; also where the cache lies
    otherwise, or on a GPU.
    """

    def __init__(self) -> None:
        self._hook = hook()
        self._state = _State(ggml=ctypes.addressof(ggml_calls()))

    @property
    def handle(self) -> int:
        """The hypura_kv, for the hook."""
        return ctypes.addressof(self._state)

    @property
    def token_bytes(self) -> int:
        """What one more token fills."""
        return sum(tensor.token_bytes for tensor in self._tensors)

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(tensor.token_bytes * tensor.tokens for tensor in self._tensors)

    def release(self) -> bool:
        """Give its pages back to the system: what the cache holds is lost. False where that cannot be."""
        return bool(self._hook.hypura_kv_release(self.handle))

    def resident_bytes(self) -> int:
        """What has been filled since it was released, in pages. Raises OSError if the system does not say."""
        found = int(self._hook.hypura_kv_resident(self.handle))
        if found < 0:
            raise OSError("the system does not say which pages are in memory (mincore)")
        return found

    @property
    def _tensors(self) -> list[_Tensor]:
        return list(self._state.tensors[: self._state.count])
