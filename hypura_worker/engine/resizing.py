"""A change of the memory limit, asked for from any thread and made between two passes."""

from __future__ import annotations

from concurrent.futures import Future

from hypura_worker.model import LlamaModel


class Resize:
    """One change. done: the limit that is kept from then on."""

    def __init__(self, memory_limit_bytes: int) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self.done: Future[int] = Future()

    def make(self, model: LlamaModel) -> None:
        """Make it, unless nobody waits for it any more."""
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            self.done.set_result(model.resize(self._memory_limit_bytes))
        except Exception as error:  # whoever asked is told; requests go on with what there is
            self.done.set_exception(error)

    def refuse(self, error: Exception) -> None:
        """The engine has ended."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)
