"""What a context is made with so that something can happen between its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Addresses for llama_context_params: cb_eval, abort_callback, and the context of both."""

    evaluate: int
    abort: int
    context: int


class PassHook(Protocol):
    """Sees every node of every pass."""

    @property
    def callbacks(self) -> Callbacks:
        """What the context is made with."""

    def begin(self) -> None:
        """Forget the failure of the last pass."""

    def failure(self) -> Exception | None:
        """Why the last pass failed, if it did."""
