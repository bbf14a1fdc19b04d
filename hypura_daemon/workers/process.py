"""One worker process: started, asked, ended, and its death explained.

state     what holds                               leaves to
NEW       nothing runs                             STARTING (start)
STARTING  the process runs, is not healthy yet     SERVING (healthy), STOPPING (failure, stop), ENDED (death)
SERVING   it answers calls                         STOPPING (stop), ENDED (death)
STOPPING  TERM was sent, KILL follows the grace    ENDED (death)
ENDED     reaped, its group killed, socket gone

    daemon ──stdin: length, WorkerBootstrap──► worker   (stays open: its end is the worker's end)
           ◄──stdout: {"address": "unix:…"}──
           ──gRPC: health, Load, Generate…──►
           ◄──stderr: kept, the last lines──
"""

import asyncio
import itertools
import json
import os
import signal
import struct
import sys
import time
from collections import deque
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
from hypura_daemon.workers.failures import named_error

MAX_MESSAGE_BYTES = 64 << 20
MAX_KEPT_LINES = 20
MAX_LINE_BYTES = 2000
MAX_TOLD_CHARACTERS = 250
# A dead worker's socket closes before its exit status can be had; this much later it must be there.
DEATH_SECONDS = 5.0
SHORT_CALL_SECONDS = 5.0
WORKER_COMMAND = (sys.executable, "-m", "hypura_worker")

_log = structlog.get_logger()
_numbers = itertools.count(1)
_LENGTH = struct.Struct("<I")
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
    """How long each wait for a worker may be; a stall is the time without any message."""

    start_seconds: float
    load_stall_seconds: float
    answer_stall_seconds: float
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended."""

    model: str
    pid: int
    exit_status: int  # Negative: the signal's number.
    cause: str  # Why the daemon ended it; empty if it did not.
    last_lines: tuple[str, ...]

    def explained(self) -> str:
        """Who died of what, its last words, and what happens next."""
        if self.exit_status < 0:
            try:
                how = f"was killed by {signal.Signals(-self.exit_status).name}"
            except ValueError:
                how = f"was killed by signal {-self.exit_status}"
            if self.exit_status == -signal.SIGKILL and not self.cause:
                how += " (by hand, or by the system when memory ran out)"
        else:
            how = f"exited with code {self.exit_status}"
        if self.cause:
            how += f", because {self.cause}"
        words = " | ".join(line[:MAX_TOLD_CHARACTERS] for line in self.last_lines[-5:])
        said = f'; its last words: "{words}"' if words else "; it said nothing"
        return f'worker {self.pid} of "{self.model}" {how}{said}; the next request loads the model again'


class WorkerProcess:
    """One worker. `start` once, then the calls, then `stop`; `wait` tells of its death at any time."""

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
        self._process: asyncio.subprocess.Process | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: worker_pb2_grpc.WorkerServiceStub | None = None
        self._lines: deque[str] = deque(maxlen=MAX_KEPT_LINES)
        self._cause = ""
        self._death: Death | None = None
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    async def start(self, tasks: asyncio.TaskGroup, environment: Mapping[str, str]) -> None:
        """Run it until it is healthy; `tasks` keeps the readers of its output.

        Raises WorkerDied or WorkerFailed; stop it then.
        """
        self.state = WorkerState.STARTING
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            self.state = WorkerState.ENDED
            raise WorkerFailed(f'"{self._command[0]}" cannot be run: {error}; reinstall hypura') from error
        tasks.create_task(self._watch(self._process), name=f"worker {self.pid}")
        try:
            async with asyncio.timeout(self._deadlines.start_seconds):
                address = await self._unless_dead(self._bootstrap(self._process))
                tasks.create_task(self._drain(self._process.stdout), name=f"worker {self.pid} output")
                await self._unless_dead(self._connect(address))
        except TimeoutError as error:
            cause = f"it was not ready within {self._deadlines.start_seconds:g} seconds"
            raise WorkerDied((await self._kill(cause)).explained()) from error
        self.state = WorkerState.SERVING

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
        async with aclosing(self._messages(call, self._deadlines.answer_stall_seconds)) as messages:
            async for message in messages:
                yield message

    async def embed(self, request: worker_pb2.WorkerEmbedRequest) -> worker_pb2.WorkerEmbedResponse:
        """Turn texts into vectors."""
        call: Awaitable[worker_pb2.WorkerEmbedResponse] = self._serving().Embed(request)
        return await self._answer(call, self._deadlines.answer_stall_seconds)

    async def tokenize(self, request: worker_pb2.WorkerTokenizeRequest) -> worker_pb2.WorkerTokenizeResponse:
        """Turn text into token ids."""
        call: Awaitable[worker_pb2.WorkerTokenizeResponse] = self._serving().Tokenize(request)
        return await self._answer(call, self._deadlines.answer_stall_seconds)

    async def statistics(self) -> worker_pb2.WorkerStatisticsResponse:
        """The worker's counters. A worker too busy to count is no reason to end it: raises WorkerFailed."""
        request = worker_pb2.WorkerStatisticsRequest()
        call: Awaitable[worker_pb2.WorkerStatisticsResponse]
        call = self._serving().Statistics(request, timeout=SHORT_CALL_SECONDS)
        return await self._answer(call, 2 * SHORT_CALL_SECONDS)

    async def wait(self) -> Death:
        """Wait for its end."""
        await self._ended.wait()
        assert self._death is not None
        return self._death

    async def stop(self) -> None:
        """End it: TERM, grace, KILL, reap, the whole process group. Does nothing to one that has ended."""
        if self._process is not None and not self._ended.is_set():
            self.state = WorkerState.STOPPING
            self._cause = self._cause or "it was unloaded"
            try:
                self._signal(signal.SIGTERM)
                await asyncio.wait_for(self._ended.wait(), self._deadlines.grace_seconds)
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self._ended.wait()
            finally:
                if not self._ended.is_set():  # Cancelled: no time for grace, but nothing is left behind.
                    self._signal(signal.SIGKILL)
        self.state = WorkerState.ENDED
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)

    async def _kill(self, cause: str) -> Death:
        self._cause = self._cause or cause
        self._signal(signal.SIGKILL)
        return await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        """To the process group; macOS answers EPERM for one that has only zombies left."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Read what it says until it ends, then tell so."""
        async with asyncio.TaskGroup() as readers:
            reader = readers.create_task(self._drain(process.stderr))
            status = await process.wait()
            self._signal(signal.SIGKILL)  # Whatever it started goes with it, and lets go of the pipe.
            await asyncio.wait({reader}, timeout=1.0)
            reader.cancel()
        self._death = Death(self.model, process.pid, status, self._cause, tuple(self._lines))
        self.state = WorkerState.ENDED
        self.socket_path.unlink(missing_ok=True)
        _log.info("worker ended", model=self.model, pid=process.pid, exit_status=status, cause=self._cause)
        self._ended.set()

    async def _drain(self, stream: asyncio.StreamReader | None) -> None:
        """Keep the last lines, however long a line is."""
        assert stream is not None
        rest = b""
        while piece := await stream.read(8192):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[:MAX_LINE_BYTES]
            for line in lines:
                self._keep(line)
        self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").strip()
        if text:
            if not any(f'"level": "{level}"' in text for level in ("debug", "info")):
                self._lines.append(text)  # what may explain a death; news does not
            _log.debug("worker says", model=self.model, pid=self.pid, line=text)

    async def _bootstrap(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdin is not None and process.stdout is not None
        data = worker_pb2.WorkerBootstrap(
            socket_path=str(self.socket_path), model=self.model, log_level=self._log_level
        ).SerializeToString()
        try:
            process.stdin.write(_LENGTH.pack(len(data)) + data)
            await process.stdin.drain()
            line = await process.stdout.readline()
        except OSError:
            line = b""
        except ValueError:
            line = b"a line of more than 64 KiB"
        if not line:
            await asyncio.sleep(DEATH_SECONDS)  # Death cuts this short; a closed output alone does not.
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("address"), str):
            return str(answer["address"])
        if isinstance(answer, dict) and "error" in answer:
            raise WorkerFailed(f'worker {self.pid} of "{self.model}" cannot start: {answer["error"]}')
        raise WorkerFailed(
            f'worker {self.pid} of "{self.model}" said {line[:200]!r} instead of its address; reinstall hypura'
        )

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
            raise await self._explained(error) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise WorkerFailed(f'worker {self.pid} of "{self.model}" says that it is not healthy')
        self._stub = worker_pb2_grpc.WorkerServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def _serving(self) -> Any:
        if self.state is not WorkerState.SERVING or self._stub is None:
            raise self._gone()
        return self._stub

    def _gone(self) -> WorkerDied:
        if self._death is not None:
            return WorkerDied(self._death.explained())
        return WorkerDied(
            f'worker {self.pid} of "{self.model}" is {self.state.value}; the next request loads the model again'
        )

    async def _unless_dead(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`; WorkerDied as soon as the process has ended."""
        task = asyncio.ensure_future(work)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._gone()
            return task.result()
        finally:
            for future in (task, ended):
                future.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)

    async def _messages(self, call: Any, stall_seconds: float) -> AsyncGenerator[Any, None]:
        try:
            while (message := await self._answer(call.read(), stall_seconds)) is not EOF:
                yield message
        finally:
            call.cancel()

    async def _answer(self, call: Awaitable[_T], stall_seconds: float) -> _T:
        """What the worker answers; a worker that gives no sign for `stall_seconds` is killed."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(stall_seconds):
                return await call
        except TimeoutError as error:
            cause = f"it gave no sign for {time.monotonic() - began:.0f} seconds"
            raise WorkerDied((await self._kill(cause)).explained()) from error
        except grpc.aio.AioRpcError as error:
            raise await self._explained(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self._gone() from None  # The channel was closed below the call.

    async def _explained(self, error: grpc.aio.AioRpcError) -> HypuraError:
        if self._death is None and (named := named_error(error)) is not None:
            return named
        try:
            async with asyncio.timeout(DEATH_SECONDS if error.code() is grpc.StatusCode.UNAVAILABLE else 0.2):
                await self._ended.wait()
        except TimeoutError:
            if self.state is WorkerState.STOPPING:
                return self._gone()
            return WorkerFailed(f'worker {self.pid} of "{self.model}" answered {error.code().name}: {error.details()}')
        return self._gone()
