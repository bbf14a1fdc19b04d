"""Makes what binds an answer, off the engine's thread and off the event loop.

    Constraint ─► known already, or small and simple? ─no─► trial: a process of its own (check.py), may be killed
                      │                                                  │ grammar
                      └─────────────────yes──────────────────────────────┴──► matcher: in a thread, with the
                                                                              model's vocabulary

Few are made and held at a time, so that no number of requests fills the memory with grammars: who comes later
waits here, and gives up its place at once when its client leaves.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import structlog

from hypura.v1 import worker_pb2
from hypura_worker.constraining import compiler as check
from hypura_worker.constraining.limits import STACK_BYTES, TRIAL_SECONDS
from hypura_worker.constraining.matcher import Maker, Matcher
from hypura_worker.errors import RequestError, ServerBusy
from hypura_worker.llama.vocabulary import Vocabulary

MAX_CHARACTERS = 1 << 20
"""Of a constraint's schemas and grammars together."""
_MAX_SIMPLE_CHARACTERS = 1 << 14
_NOT_SIMPLE = ("pattern", "Names", "allOf", "multipleOf", "\\u")
"""What makes llguidance intersect regular expressions; an escape may hide one."""
_MAX_WAITING = 256
_TRIALS = 2
_MAX_KNOWN = 64
_MAX_KNOWN_CHARACTERS = 1 << 17
_TRIAL = (sys.executable, "-m", "hypura_worker.constraining.compiler")


class Constraints:
    """Makes matchers for a model's answers; of the event loop alone.

    held: how many requests may hold a matcher at a time.
    """

    def __init__(self, vocabulary: Vocabulary, held: int) -> None:
        self._maker = Maker(vocabulary)
        self._held = asyncio.Semaphore(held)
        self._waiting = 0
        self._trials = asyncio.Semaphore(_TRIALS)
        self._trying = ThreadPoolExecutor(_TRIALS, "trials")
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._threads = _threads_with_stack(2)

    @asynccontextmanager
    async def made(self, constraint: worker_pb2.Constraint) -> AsyncIterator[Matcher]:
        """A matcher for the constraint, which counts as held until the end of this.

        Raises RequestError for what cannot be enforced, and ServerBusy.
        """
        if self._waiting >= _MAX_WAITING:
            raise ServerBusy(f"{self._waiting} requests with a format wait already; try again later")
        self._waiting += 1
        try:
            await self._held.acquire()
        finally:
            self._waiting -= 1
        try:
            yield await self._made(constraint)
        finally:
            self._held.release()

    def close(self) -> None:
        """End the threads when they have made what they are making: that reads the model's vocabulary."""
        self._trying.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _made(self, constraint: worker_pb2.Constraint) -> Matcher:
        grammar = await self._tried(constraint)
        markers = list(constraint.markers)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._maker.made(with_markers(grammar, markers, self._maker.special))
        )

    async def _tried(self, constraint: worker_pb2.Constraint) -> str:
        """The constraint as llguidance's JSON text, once it was made on trial."""
        key = constraint.SerializeToString(deterministic=True)
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        if len(key) > MAX_CHARACTERS:
            raise RequestError(f"the format has {len(key)} bytes; {MAX_CHARACTERS} are allowed")
        asked = asked_of(constraint)
        if is_simple(asked):
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, check.tried, asked)
        else:
            async with self._trials:
                answer = await tried(asked, self._trying)
        grammar = grammar_of(answer)
        for warning in answer["warnings"]:
            structlog.get_logger().warning(warning)
        if len(key) <= _MAX_KNOWN_CHARACTERS:
            self._known[key] = grammar
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return grammar


def is_simple(asked: dict[str, Any]) -> bool:
    """Whether it may be made without a trial: it is small, and has nothing whose cost its size does not bound."""
    texts = [asked["text"], *(part["text"] for part in asked["parts"])]
    forms = {asked["form"], *(part["form"] for part in asked["parts"])}
    if "gbnf" in forms or sum(map(len, texts)) > _MAX_SIMPLE_CHARACTERS:
        return False
    return not any(word in text for text in texts for word in _NOT_SIMPLE)


def asked_of(constraint: worker_pb2.Constraint) -> dict[str, Any]:
    """The constraint as check.py reads it."""
    form = constraint.WhichOneof("form") or ""
    text = getattr(constraint, form)
    if form == "any_json":
        form, text = "json_schema", '{"type": "object"}'
    return {
        "form": form,
        "text": text,
        "parts": [
            {
                "name": part.name,
                "what": part.what,
                "form": part.WhichOneof("form") or "json_schema",
                "text": part.gbnf or part.json_schema,
            }
            for part in constraint.parts
        ],
        "markers": [{"rule": marker.rule, "text": marker.text, "until": marker.until} for marker in constraint.markers],
    }


class _Trial:
    """One process of check.py, run in a thread; another may end it."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = json.dumps(asked).encode()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = False

    def run(self) -> dict[str, Any]:
        """What it says. Raises RequestError when it died, or took too long."""
        with self._lock:
            if self._given_up:
                return {}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(_TRIAL, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        with self._process as process:
            try:
                said, _ = process.communicate(self._asked, timeout=TRIAL_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise RequestError(
                    f"the format of the answer was not made into a grammar within {TRIAL_SECONDS:.0f} seconds; "
                    "simplify it"
                ) from error
            finally:
                process.kill()
        if process.returncode == 0 and said:
            return dict(json.loads(said))
        why = {
            -signal.SIGXCPU: "takes too much time",
            -signal.SIGKILL: "takes too much time or memory",
            -signal.SIGSEGV: "nests too deep",
        }.get(process.returncode, "takes too much memory")
        raise RequestError(f"the format of the answer {why} to be made into a grammar; simplify it")

    def give_up(self) -> None:
        """End it at once."""
        with self._lock:
            self._given_up = True
            if self._process is not None:
                self._process.kill()


async def tried(asked: dict[str, Any], threads: Executor | None = None) -> dict[str, Any]:
    """What a trial says; cancelled, it is killed at once. Raises RequestError when it died, or took too long."""
    trial = _Trial(asked)
    running = asyncio.get_running_loop().run_in_executor(threads, trial.run)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        trial.give_up()
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise


def grammar_of(answer: dict[str, Any]) -> str:
    """The grammar that a trial made. Raises RequestError."""
    if "error" in answer:
        raise RequestError(answer["error"])
    return str(answer["grammar"])


def with_markers(grammar: str, markers: list[worker_pb2.ConstraintMarker], special: Callable[[str], int | None]) -> str:
    """The grammar with a rule for each marker: its token where the vocabulary has one for it, else its text."""
    if not markers:
        return grammar
    whole = json.loads(grammar)
    rules = []
    for marker in markers:
        token = special(marker.text)
        text = json.dumps(marker.text) if token is None else f"<[{token}]>"
        before = "/(?s:.*)/ " if marker.until else ""
        rules.append(f"\n{marker.rule}{'[lazy]' if marker.until and token is None else ''}: {before}{text}")
    whole["grammars"][0]["lark_grammar"] += "".join(rules)
    return json.dumps(whole)


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
