"""The engine's thread: takes requests from any thread and runs passes for them until it is stopped or broken."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from hypura_worker.constraining.limits import STACK_BYTES
from hypura_worker.engine.counters import EngineCounters
from hypura_worker.engine.request import EmbedRequest, Request, ResizeRequest
from hypura_worker.engine.runner import Runner
from hypura_worker.errors import EngineBroken, ModelFileChanged, ServerBusy
from hypura_worker.loaded_model import LlamaModel

_QUEUE_LIMIT = 256
"""Requests that may wait for a sequence."""


class Engine:
    """Answers requests with a loaded model. Its thread is the only one that uses the model and the runner.

    on_broken is called, from the engine's thread, when no request can be answered any more.
    """

    def __init__(self, model: LlamaModel, on_broken: Callable[[Exception], None]) -> None:
        self._runner = Runner(model)
        self._inbox: queue.Queue[Request | EmbedRequest | ResizeRequest | None] = queue.Queue()
        self._on_broken = on_broken
        self._broken: Exception | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def counters(self) -> EngineCounters:
        """Counters since the load; from any thread."""
        return self._runner.counters

    @property
    def embed_tokens(self) -> int:
        """The longest text that can be embedded."""
        return self._runner.embed_tokens

    def start(self) -> None:
        """Start the thread."""
        before = threading.stack_size(STACK_BYTES)
        try:
            self._thread.start()
        finally:
            threading.stack_size(before)

    def submit(self, request: Request | EmbedRequest) -> None:
        """Queue a request; from any thread. Raises ServerBusy or what broke the engine."""
        if self._broken is not None:
            raise EngineBroken(f"the worker cannot continue: {self._broken}")
        if self._inbox.qsize() + self.counters.queued >= _QUEUE_LIMIT:
            raise ServerBusy(f"{_QUEUE_LIMIT} requests wait already; try again later")
        self._inbox.put(request)

    def cancel(self, request: Request | EmbedRequest) -> None:
        """End a request without an answer, before the next pass; from any thread."""
        request.cancelled = True
        self._inbox.put(None)

    def resize(self, memory_limit_bytes: int) -> Future[int]:
        """Keep to another memory limit, from the next pass on; from any thread. Returns the limit that is kept."""
        request = ResizeRequest(memory_limit_bytes)
        if self._ending or self._broken is not None:
            request.refuse(self._broken or EngineBroken("the worker is ending"))
        else:
            self._inbox.put(request)
        return request.done

    def stop(self) -> None:
        """End after the pass under way; unfinished requests fail."""
        self._ending = True
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._receive()
            if self._ending:
                self._fail_all(EngineBroken("the worker is ending"))
                return
            try:
                self._runner.step()
            except (EngineBroken, ModelFileChanged) as error:
                self._break(error)
                return
            except Exception as error:
                structlog.get_logger().exception("the engine met an unexpected error")
                self._break(EngineBroken(f"unexpected error: {error!r}"))
                return

    def _receive(self) -> None:
        """Take what has arrived; wait for it when there is nothing to do."""
        wait = self._runner.is_idle
        while True:
            try:
                request = self._inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if isinstance(request, ResizeRequest):
                self._runner.resize(request)
            elif request is not None:
                self._runner.add(request)

    def _break(self, error: Exception) -> None:
        self._broken = error
        self._fail_all(error)
        self._on_broken(error)

    def _fail_all(self, error: Exception) -> None:
        while not self._inbox.empty():  # this thread is the only one that takes
            request = self._inbox.get_nowait()
            if isinstance(request, ResizeRequest):
                request.refuse(error)
            elif request is not None:
                self._runner.add(request)
        self._runner.fail_all(error)
