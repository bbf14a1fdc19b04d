"""Compiles constraints to matchers, off the engine's thread and off the event loop.

    Constraint ─► known already, or small and simple? ─no─► compiler.py in a process of its own, which may be killed
                      │                                                  │ grammar
                      └─────────────────yes──────────────────────────────┴──► matcher: in a thread, with the
                                                                              model's vocabulary

Few are compiled and held at a time, so that no number of requests fills the memory with grammars: later requests
wait here, and give up their place at once when their client leaves.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog

from hypura.v1 import worker_pb2
from hypura_worker.constraining.compiler import Compiled, Marker, Part, Source, compile_source, marker_rules
from hypura_worker.constraining.limits import COMPILE_SECONDS, STACK_BYTES
from hypura_worker.constraining.matcher import Matcher, MatcherMaker
from hypura_worker.errors import InvalidRequest, ServerBusy
from hypura_worker.llama.vocabulary import Vocabulary

MAX_CHARACTERS = 1 << 20
"""Of a constraint's schemas and grammars together."""
_MAX_SIMPLE_CHARACTERS = 1 << 14
_NOT_SIMPLE = ("pattern", "Names", "allOf", "multipleOf", "\\u")
"""What makes llguidance intersect regular expressions; an escape may hide one of these."""
_MAX_WAITING = 256
_MAX_PROCESSES = 2
_MAX_KNOWN = 64
_MAX_KNOWN_CHARACTERS = 1 << 17
_COMPILER = (sys.executable, "-m", "hypura_worker.constraining.compiler")


class Constraints:
    """Makes matchers for a model's answers; used by the event loop alone.

    held: how many requests may hold a matcher at a time.
    """

    def __init__(self, vocabulary: Vocabulary, held: int) -> None:
        self._maker = MatcherMaker(vocabulary)
        self._held = asyncio.Semaphore(held)
        self._waiting = 0
        self._processes = asyncio.Semaphore(_MAX_PROCESSES)
        self._process_threads = ThreadPoolExecutor(_MAX_PROCESSES, "compilers")
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._threads = _threads_with_stack(2)

    @asynccontextmanager
    async def matcher(self, constraint: worker_pb2.Constraint) -> AsyncIterator[Matcher]:
        """A matcher for the constraint, which counts as held until the end of this.

        Raises InvalidRequest for what cannot be enforced, and ServerBusy.
        """
        if self._waiting >= _MAX_WAITING:
            raise ServerBusy(f"{self._waiting} requests with a format wait already; try again later")
        self._waiting += 1
        try:
            await self._held.acquire()
        finally:
            self._waiting -= 1
        try:
            yield await self._make(constraint)
        finally:
            self._held.release()

    def close(self) -> None:
        """End the threads when they have made what they are making: that reads the model's vocabulary."""
        self._process_threads.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _make(self, constraint: worker_pb2.Constraint) -> Matcher:
        grammar = await self._compile(constraint)
        markers = markers_of(constraint)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._maker.make(with_markers(grammar, markers, self._maker.special_token))
        )

    async def _compile(self, constraint: worker_pb2.Constraint) -> str:
        """The constraint as llguidance's JSON text, which was found to compile within the limits."""
        key = constraint.SerializeToString(deterministic=True)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        if len(key) > MAX_CHARACTERS:
            raise InvalidRequest(f"the format has {len(key)} bytes; {MAX_CHARACTERS} are allowed")
        source = source_of(constraint)
        if is_simple(source):
            compiled = await asyncio.get_running_loop().run_in_executor(self._threads, compile_source, source)
        else:
            async with self._processes:
                compiled = await compile_in_process(source, self._process_threads)
        if compiled.error:
            raise InvalidRequest(compiled.error)
        for warning in compiled.warnings:
            structlog.get_logger().warning(warning)
        if len(key) <= _MAX_KNOWN_CHARACTERS:
            self._known[key] = compiled.grammar
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return compiled.grammar


def is_simple(source: Source) -> bool:
    """Whether it may be compiled without a process: it is small, and its size bounds the cost of all it contains."""
    texts = [source.text, *(part.text for part in source.parts)]
    forms = {source.form, *(part.form for part in source.parts)}
    if "gbnf" in forms or sum(map(len, texts)) > _MAX_SIMPLE_CHARACTERS:
        return False
    return not any(word in text for text in texts for word in _NOT_SIMPLE)


def source_of(constraint: worker_pb2.Constraint) -> Source:
    """The constraint as the compiler takes it."""
    form = constraint.WhichOneof("form") or ""
    text = getattr(constraint, form)
    if form == "any_json":
        form, text = "json_schema", '{"type": "object"}'
    parts = (
        Part(part.name, part.what, part.WhichOneof("form") or "json_schema", part.gbnf or part.json_schema)
        for part in constraint.parts
    )
    return Source(form, text, tuple(parts), markers_of(constraint))


def markers_of(constraint: worker_pb2.Constraint) -> tuple[Marker, ...]:
    """The markers of the constraint."""
    return tuple(Marker(marker.rule, marker.text, marker.until) for marker in constraint.markers)


def with_markers(grammar: str, markers: Sequence[Marker], special_token: Callable[[str], int | None]) -> str:
    """The compiled grammar with a rule for each marker."""
    if not markers:
        return grammar
    whole = json.loads(grammar)
    whole["grammars"][0]["lark_grammar"] += marker_rules(markers, special_token)
    return json.dumps(whole)


class _CompilerProcess:
    """One process of compiler.py, run in a thread; another thread may end it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def run(self) -> Compiled:
        """What it made. Raises InvalidRequest when it died, or took too long."""
        with self._lock:
            if self._cancelled:
                return Compiled()
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(_COMPILER, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        with self._process as process:
            try:
                output, _ = process.communicate(self._source.to_json().encode(), timeout=COMPILE_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise InvalidRequest(
                    f"the format of the answer was not compiled to a grammar within {COMPILE_SECONDS:.0f} seconds; "
                    "simplify it"
                ) from error
            finally:
                process.kill()
        if process.returncode == 0 and output:
            fields = json.loads(output)
            return Compiled(fields["grammar"], tuple(fields["warnings"]), fields["error"])
        reason = {
            -signal.SIGXCPU: "takes too much time",
            -signal.SIGKILL: "takes too much time or memory",
            -signal.SIGSEGV: "nests too deep",
        }.get(process.returncode, "takes too much memory")
        raise InvalidRequest(f"the format of the answer {reason} to be compiled to a grammar; simplify it")

    def cancel(self) -> None:
        """End it at once."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()


async def compile_in_process(source: Source, threads: Executor | None = None) -> Compiled:
    """Compile in a process of its own, which is killed at once when this is cancelled.

    Raises InvalidRequest when it died, or took too long.
    """
    process = _CompilerProcess(source)
    running = asyncio.get_running_loop().run_in_executor(threads, process.run)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        process.cancel()
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise


def _threads_with_stack(count: int) -> ThreadPoolExecutor:
    """Threads with a large stack, started now, while the size is set."""
    before = threading.stack_size(STACK_BYTES)
    try:
        executor = ThreadPoolExecutor(count, "constraints")
        started = threading.Barrier(count)
        for thread in [executor.submit(started.wait) for _ in range(count)]:
            thread.result()
    finally:
        threading.stack_size(before)
    return executor
