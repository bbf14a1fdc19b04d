"""Where a context's KV cache lies, how much of it was ever filled, and lending the rest to slots or to the ring.

KV cache   [ filled ][ the next 128 tokens ][ …… lent …………………………… ]
                      └ taken back before the pass that begins to fill it
"""

from __future__ import annotations

import ctypes

import structlog

from hypura_worker.llama.library import ggml_calls, hook, mirrors

_MOST_TENSORS = 1024  # HYPURA_MAX_KV
_STEP_TOKENS = 128
"""Taken back at a time: rarely enough for the slots, and little enough memory lies idle."""


@mirrors("hypura_kv_tensor")
class _Tensor(ctypes.Structure):
    """hypura_kv_tensor of kv.h."""

    _fields_ = (("data", ctypes.c_void_p), ("token_bytes", ctypes.c_int64), ("tokens", ctypes.c_int64))


@mirrors("hypura_kv")
class _State(ctypes.Structure):
    """hypura_kv of kv.h."""

    _fields_ = (
        ("ggml", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("tensors", _Tensor * _MOST_TENSORS),
    )


class KvMemory:
    """The K and V tensors of all layers that lie in this process's memory token by token.

    Empty until a streamer has shown it a learning pass (`handle`), and where the cache has another layout or is on a
    GPU.
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
        """Bytes that one more token fills."""
        return sum(tensor.token_bytes for tensor in self._tensors)

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(tensor.token_bytes * tensor.tokens for tensor in self._tensors)

    def release(self) -> bool:
        """Give its pages back to the system, with all they hold. False where the system cannot do so."""
        return bool(self._hook.hypura_kv_release(self.handle))

    def resident_bytes(self) -> int:
        """What has been filled since it was released, in pages. Raises OSError if the system does not report it."""
        found = int(self._hook.hypura_kv_resident(self.handle))
        if found < 0:
            raise OSError("the system does not report which pages are in memory (mincore)")
        return found

    @property
    def _tensors(self) -> list[_Tensor]:
        return list(self._state.tensors[: self._state.count])


class Loan:
    """The part of a cache that no token has filled yet, lent to slots or to the ring. The cache was just released.

    What the passes fill is counted, and measured when the count reaches what is lent: tokens that take the place of
    forgotten ones fill nothing new. touched_tokens: how many empty places behind the last token a pass may
    read, whose pages the system then counts as filled.
    """

    def __init__(self, memory: KvMemory, touched_tokens: int = 0) -> None:
        self._memory = memory
        self._touched_bytes = touched_tokens * memory.token_bytes
        self._size_bytes, self._token_bytes = memory.size_bytes, memory.token_bytes
        self._filled_bytes = self._measured()
        self._kept_bytes = self._to_keep()

    @property
    def lent_bytes(self) -> int:
        """What slots or the ring may use now."""
        return self._size_bytes - self._kept_bytes

    def make_room(self, tokens: int) -> bool:
        """Take back what a pass of so many tokens may fill; True if less is lent from now on."""
        if not self.lent_bytes:
            return False
        needed_bytes = tokens * self._token_bytes
        most_bytes = self._kept_bytes - self._touched_bytes
        if self._filled_bytes + needed_bytes > most_bytes:
            self._filled_bytes = self._measured()
        self._filled_bytes += needed_bytes
        if self._filled_bytes <= most_bytes:
            return False
        self._kept_bytes = self._to_keep()
        return True

    def _measured(self) -> int:
        """The filled bytes; all of the cache where the system does not report them, so that nothing is lent."""
        try:
            return self._memory.resident_bytes()
        except OSError as error:
            structlog.get_logger().warning("the KV cache counts as full", error=str(error))
            return self._size_bytes

    def _to_keep(self) -> int:
        step_bytes = _STEP_TOKENS * self._token_bytes
        return min(self._size_bytes, self._filled_bytes + self._touched_bytes + step_bytes)
