"""What is requested of the engine: to continue a prompt, to embed texts, to keep to another memory limit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from hypura_worker.engine.counters import RequestCounters
from hypura_worker.engine.events import Event
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.sampler import Sampler
from hypura_worker.loaded_model import LlamaModel


@dataclass(slots=True, eq=False)
class Request:
    """One prompt to continue. emit is called from the engine's thread, which closes the sampler too.

    visible: control tokens whose text is part of the answer.
    """

    id: str
    prompt: list[int]
    sampling: Sampling
    limits: Limits
    sampler: Sampler
    emit: Callable[[Event], None]
    visible: frozenset[str] = frozenset()
    cancelled: bool = False
    counters: RequestCounters = field(default_factory=RequestCounters)


@dataclass(slots=True, eq=False)
class EmbedRequest:
    """Texts to embed, tokenized; embedded: how many are done.

    emit is called from the engine's thread: with an [embedding_length] vector for each text, in order, and with None
    after the last, or with the error that ended the request.
    """

    texts: list[list[int]]
    emit: Callable[[list[float] | Exception | None], None]
    cancelled: bool = False
    embedded: int = 0


class ResizeRequest:
    """A change of the memory limit, made between two passes. done: the limit that is kept from then on."""

    def __init__(self, memory_limit_bytes: int) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self.done: Future[int] = Future()

    def apply(self, model: LlamaModel) -> None:
        """Resize the model, unless the caller has cancelled the future."""
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            self.done.set_result(model.resize(self._memory_limit_bytes))
        except Exception as error:  # the caller gets it; other requests continue with the memory there is
            self.done.set_exception(error)

    def refuse(self, error: Exception) -> None:
        """Report that the engine has ended."""
        if self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)
