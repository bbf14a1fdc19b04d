"""The part of the KV cache that no token has filled yet, lent to slots or to the ring.

KV cache   [ filled ][ the next 128 tokens ][ …… lent …………………………… ]
                      └ taken back before the pass that begins to fill it
"""

from __future__ import annotations

import structlog

from hypura_worker.llama.kv_memory import KvMemory

_STEP_TOKENS = 128
"""Taken back at once: slots give way seldom, and little memory lies idle."""


class Loan:
    """Of a cache that was just released.

    What the passes fill is counted, and measured when it seems to have reached what is lent: tokens that take the
    place of forgotten ones fill nothing new. touched_tokens: how many empty places behind the last token a pass may
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
        """What may be used otherwise now."""
        return self._size_bytes - self._kept_bytes

    def make_room(self, tokens: int) -> bool:
        """Before a pass of so many tokens; whether less is lent from now on."""
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
        """All of it where the system does not say: nothing is lent then, and the pass goes on."""
        try:
            return self._memory.resident_bytes()
        except OSError as error:
            structlog.get_logger().warning("the KV cache is taken for full", error=str(error))
            return self._size_bytes

    def _to_keep(self) -> int:
        step_bytes = _STEP_TOKENS * self._token_bytes
        return min(self._size_bytes, self._filled_bytes + self._touched_bytes + step_bytes)
