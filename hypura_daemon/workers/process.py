"""One worker process: its start, calls to it, its end, and why it ended.

state     what holds                               leaves to
NEW       nothing runs                             STARTING (start)
STARTING  the process runs and is not healthy yet  SERVING (healthy), STOPPING (failure, stop), ENDED (death)
SERVING   it answers calls                         STOPPING (stop), ENDED (death)
STOPPING  TERM was sent, KILL follows the grace    ENDED (death, or given up)
ENDED     its exit status is collected, its process group killed, its socket removed

A worker that was killed and does not end hangs in the system, perhaps in a read from a drive that is gone. After
KILL_SECONDS it is given up: nothing waits for it any more, and `gone` is set when it has really ended.

    daemon ──stdin: length, WorkerBootstrap──► worker   (stays open: its end is the worker's end)
           ◄──stdout: {"address": "unix:…"}──
           ──gRPC: health, Load, Generate…──►
           ◄──stderr: logged, the last lines kept──
"""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import grpc
import structlog
from grpc.aio import EOF  # type: ignore[attr-defined]
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hypura.v1 import placement_pb2, worker_pb2, worker_pb2_grpc
from hypura_daemon.errors import HypuraError, WorkerDied, WorkerFailed
from hypura_daemon.platforms.platform import current
from hypura_daemon.system.child import Child
from hypura_daemon.system.descriptors import out_of_descriptors
from hypura_daemon.workers.bootstrap import DEATH_SECONDS, exchange
from hypura_daemon.workers.failures import Death, named_error
from hypura_daemon.workers.health import WorkerHealth
from hypura_daemon.workers.output import WorkerOutput

MAX_MESSAGE_BYTES = 64 << 20
SHORT_CALL_SECONDS = 0.5
KILL_SECONDS = 5.0
"""For a killed worker to end, unless it hangs in the system."""
WORKER_COMMAND = (sys.executable, "-m", "hypura_worker")

_log = structlog.get_logger()
_numbers = itertools.count(1)
_T = TypeVar("_T")


class WorkerState(Enum):
    """See the table above."""

    NEW = "new"
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WorkerDeadlines:
    """How long each wait for a worker may be.

    load_stall: without progress of a load. answer_stall: without any progress while requests wait. heartbeat: between
    two questions for its counters. deaf: without an answer to these.
    """

    start_seconds: float
    load_stall_seconds: float
    answer_stall_seconds: float
    grace_seconds: float
    heartbeat_seconds: float = 3.0
    deaf_seconds: float = 14.0


class WorkerProcess:
    """One worker. `start` once, then the calls, then `stop`; `wait` returns when it has ended, however it did."""

    def __init__(
        self,
        model: str,
        folder: Path,
        deadlines: WorkerDeadlines,
        *,
        log_level: str = "info",
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self.model = model
        self.state = WorkerState.NEW
        # A unix socket's path must be short: the folder is, and so is this.
        self.socket_path = folder / f"{os.getpid():x}-{next(_numbers):x}.s"
        self._deadlines = deadlines
        self._log_level = log_level
        self._command = tuple(command)
        self.gone = asyncio.Event()  # Set once nothing is left of it, given up or not.
        self._child: Child | None = None
        self._exit_task: asyncio.Task[None] | None = None
        self._health_task: asyncio.Task[None] | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: worker_pb2_grpc.WorkerServiceStub | None = None
        self._output = WorkerOutput(model)
        self._cause = ""
        self._death: Death | None = None
        self._ended = asyncio.Event()  # Set once it has ended, or was given up.
        self._address_read = asyncio.Event()  # What follows on its standard output is only logged.
        self._health = WorkerHealth(deadlines.deaf_seconds, deadlines.answer_stall_seconds)
        self._oom_kills = 0
        self._calls: set[Any] = set()

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._child.pid if self._child is not None else 0

    @property
    def hangs(self) -> bool:
        """Whether it was killed and given up, and its memory is not free yet."""
        return self._death is not None and not self.gone.is_set()

    async def start(self, tasks: asyncio.TaskGroup, environment: Mapping[str, str]) -> None:
        """Start it, and return when it is healthy; `tasks` runs the watch over its health.

        Raises WorkerDied or WorkerFailed; stop it then.
        """
        self.state, self._oom_kills = WorkerState.STARTING, _oom_kills()
        try:
            self._child = await Child.started(self._command, environment)
        except OSError as error:
            self.state = WorkerState.ENDED
            refused = out_of_descriptors(error)
            raise refused or WorkerFailed(f'"{self._command[0]}" cannot be run: {error}; reinstall hypura') from error
        # Not a task of the group: one that hangs in the system would hold up whatever waits for the group.
        self._exit_task = asyncio.ensure_future(self._watch_exit(self._child))
        bootstrap = worker_pb2.WorkerBootstrap(
            socket_path=str(self.socket_path), model=self.model, log_level=self._log_level
        )
        try:
            async with asyncio.timeout(self._deadlines.start_seconds):
                address = await self._unless_dead(exchange(self._child, bootstrap))
                self._address_read.set()
                await self._unless_dead(self._connect(address))
        except TimeoutError as error:
            cause = f"it was not ready within {self._deadlines.start_seconds:g} seconds"
            raise (await self._kill(cause)).error() from error
        self.state = WorkerState.SERVING
        self._health_task = tasks.create_task(self._watch_health(), name=f"health of worker {self.pid}")

    async def load(self, plan: placement_pb2.Plan) -> AsyncGenerator[worker_pb2.WorkerLoadResponse, None]:
        """Load the model; the last message has `loaded` set."""
        call = self._serving().Load(worker_pb2.WorkerLoadRequest(plan=plan))
        async with aclosing(self._messages(call, self._deadlines.load_stall_seconds)) as messages:
            async for message in messages:
                yield message

    async def generate(
        self, request: worker_pb2.WorkerGenerateRequest
    ) -> AsyncGenerator[worker_pb2.WorkerGenerateResponse, None]:
        """Continue a prompt; closing the iterator cancels the answer."""
        call = self._serving().Generate(request)
        with self._health.call():
            async with aclosing(self._messages(call, None)) as messages:
                async for message in messages:
                    self._health.note_progress()
                    yield message

    async def embed(self, request: worker_pb2.WorkerEmbedRequest) -> worker_pb2.WorkerEmbedResponse:
        """Turn texts into vectors, which come one by one: together they may be larger than a message may be."""
        whole = worker_pb2.WorkerEmbedResponse()
        with self._health.call():
            async with aclosing(self._messages(self._serving().Embed(request), None)) as parts:
                async for part in parts:
                    whole.embeddings.extend(part.embeddings)
                    whole.prompt_tokens += part.prompt_tokens
        return whole

    async def resize(self, memory_limit_bytes: int) -> int:
        """Give it another memory limit from its next pass on; returns the limit that it keeps to."""
        request = worker_pb2.WorkerResizeRequest(memory_limit_bytes=memory_limit_bytes)
        call: Awaitable[worker_pb2.WorkerResizeResponse] = self._serving().Resize(request)
        with self._health.call():
            return (await self._answer(call, None)).memory_limit_bytes

    async def tokenize(self, request: worker_pb2.WorkerTokenizeRequest) -> worker_pb2.WorkerTokenizeResponse:
        """Turn text into token ids."""
        call: Awaitable[worker_pb2.WorkerTokenizeResponse] = self._serving().Tokenize(request)
        with self._health.call():
            return await self._answer(call, None)

    async def statistics(self) -> worker_pb2.WorkerStatisticsResponse:
        """The worker's counters; those that it reported last, when it does not answer at once. Raises WorkerFailed."""
        self._serving()
        if not self._health.missed and (counters := await self._counters(SHORT_CALL_SECONDS)) is not None:
            self._health.note_heartbeat(counters)
        if self._health.counters is None:
            raise WorkerFailed(f'worker {self.pid} of "{self.model}" does not report its counters')
        return self._health.counters

    async def _counters(self, seconds: float) -> worker_pb2.WorkerStatisticsResponse | None:
        if self._stub is None or self._death is not None:
            return None
        call: Awaitable[worker_pb2.WorkerStatisticsResponse]
        call = self._stub.Statistics(worker_pb2.WorkerStatisticsRequest(), timeout=seconds)
        try:
            return await call
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            if _cancelled_from_outside():
                raise
            return None

    async def _watch_health(self) -> None:
        """Kill it when it has stopped, or hangs."""
        cause = await self._health.watch(self._counters, self._ended, self._deadlines.heartbeat_seconds)
        if cause:
            _log.error("a worker does not respond", model=self.model, pid=self.pid, cause=cause)
            await self._kill(cause)

    async def wait(self) -> Death:
        """Wait until it has ended, or was given up."""
        await self._ended.wait()
        assert self._death is not None
        return self._death

    async def stop(self) -> None:
        """End its whole process group: TERM, grace, KILL, collect. Does nothing to one that has ended.

        One that hangs in the system is given up KILL_SECONDS after it was killed.
        """
        if self._child is not None and not self._ended.is_set():
            self.state = WorkerState.STOPPING
            self._cause = self._cause or "it was unloaded"
            for call in self._calls:
                call.cancel()  # Its requests fail at once, and not when a long pass has ended.
            try:
                self._signal(signal.SIGTERM)
                await asyncio.wait_for(self._ended.wait(), self._deadlines.grace_seconds)
            except TimeoutError:
                await self._kill(self._cause)
            finally:
                if not self._ended.is_set():  # Cancelled: no time for grace, but nothing is left behind.
                    self._signal(signal.SIGKILL)
        self.state = WorkerState.ENDED
        if self._health_task is not None and self._health_task is not asyncio.current_task():
            self._health_task.cancel()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)

    async def _kill(self, cause: str) -> Death:
        self._cause = self._cause or cause
        self._signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(KILL_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._give_up()
        return await self.wait()

    def _give_up(self) -> None:
        """It was killed and has not ended: nothing waits for it any longer."""
        if self._ended.is_set():
            return
        _log.error(
            "a worker was killed and hangs in the system, perhaps in a read from a drive; its memory counts until it "
            "is gone",
            model=self.model,
            pid=self.pid,
            cause=self._cause,
        )
        self._death = Death(self.model, self.pid, -signal.SIGKILL, self._cause, self._output.last_lines, hangs=True)
        self.state = WorkerState.ENDED
        self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)

    async def _watch_exit(self, child: Child) -> None:
        """Read its output until it ends, then note how it ended."""
        readers = [
            asyncio.ensure_future(self._output.read(child.stderr, child.pid)),
            asyncio.ensure_future(self._read_stdout(child)),
        ]
        try:
            status = await child.ended()  # What it left of its group is dead then, and has closed the pipes.
            self._address_read.set()
            await asyncio.wait(readers, timeout=1.0)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            child.close()
        given_up = self._ended.is_set()
        out_of_memory = status == -signal.SIGKILL and not self._cause and _oom_kills() > self._oom_kills
        self._death = Death(self.model, child.pid, status, self._cause, self._output.last_lines, out_of_memory)
        self.state = WorkerState.ENDED
        _log.info(
            "worker ended",
            model=self.model,
            pid=child.pid,
            exit_status=status,
            cause=self._cause,
            **({"given_up_before": True} if given_up else {}),
        )
        self.gone.set()
        self._ended.set()
        try:
            self.socket_path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("a worker's socket cannot be removed", path=str(self.socket_path), error=str(error))

    async def _read_stdout(self, child: Child) -> None:
        """Its standard output after its address."""
        await self._address_read.wait()
        await self._output.read(child.stdout, child.pid)

    async def _connect(self, address: str) -> None:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        health = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise await self._translated(error) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise WorkerFailed(f'worker {self.pid} of "{self.model}" reports that it is not healthy')
        self._stub = worker_pb2_grpc.WorkerServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def _serving(self) -> Any:
        if self.state is not WorkerState.SERVING or self._stub is None:
            raise self._ended_error()
        return self._stub

    def _ended_error(self) -> WorkerDied:
        if self._death is not None:
            return self._death.error()
        why = f": {self._cause}" if self._cause else ""
        return WorkerDied(
            f'worker {self.pid} of "{self.model}" is {self.state.value}{why}; the next request loads the model again'
        )

    async def _unless_dead(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`; WorkerDied as soon as the process has ended."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._ended_error()
            return task.result()
        finally:
            for future in (task, ended):
                future.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)

    async def _messages(self, call: Any, stall_seconds: float | None) -> AsyncGenerator[Any, None]:
        self._calls.add(call)
        try:
            while (message := await self._answer(call.read(), stall_seconds)) is not EOF:
                yield message
        finally:
            self._calls.discard(call)
            call.cancel()

    async def _answer(self, call: Awaitable[_T], stall_seconds: float | None) -> _T:
        """What the worker answers; one that is silent for `stall_seconds` is killed. None: its health decides."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(stall_seconds):
                return await call
        except TimeoutError as error:
            cause = f"it made no progress for {time.monotonic() - began:.0f} seconds"
            raise (await self._kill(cause)).error() from error
        except grpc.aio.AioRpcError as error:
            raise await self._translated(error) from error
        except asyncio.CancelledError:
            if _cancelled_from_outside():
                raise
            raise self._ended_error() from None

    async def _translated(self, error: grpc.aio.AioRpcError) -> HypuraError:
        if self._death is None and (named := named_error(error)) is not None:
            return named
        try:
            async with asyncio.timeout(DEATH_SECONDS if error.code() is grpc.StatusCode.UNAVAILABLE else 0.2):
                await self._ended.wait()
        except TimeoutError:
            if self.state is WorkerState.STOPPING:
                return self._ended_error()
            code = error.code().name
            _log.error("a worker aborted a call", model=self.model, pid=self.pid, code=code, details=error.details())
            return WorkerFailed(
                f'worker {self.pid} of "{self.model}" aborted its answer (status {code}); ask again, and see the '
                "worker's output in the daemon's log"
            )
        return self._ended_error()


def _oom_kills() -> int:
    """How often the system has killed for lack of memory; 0 where that cannot be read now."""
    try:
        return current().oom_kills()
    except OSError as error:
        _log.warning("whether the system killed for lack of memory cannot be read", error=str(error))
        return 0


def _cancelled_from_outside() -> bool:
    """Whether this task was cancelled; otherwise the channel was closed during its call."""
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())
