"""A worker process of the benchmark's own: the one that a daemon runs, but in a cgroup and closely watched.

bench ──stdin: length, WorkerBootstrap──► worker in its cgroup (stays open: its end is the worker's end)
      ◄──stdout: {"address": "unix:…"}──
      ──gRPC: Load, Tokenize, Generate, Statistics──►
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import grpc

from hypura.v1 import inference_pb2, placement_pb2, worker_pb2, worker_pb2_grpc
from hypura_client.bench.figures import Run
from hypura_client.channel import OPTIONS, target_of
from hypura_client.errors import HypuraError, WorkerDied, WorkerFailed, from_status

_START_SECONDS = 60.0
_SHORT_SECONDS = 30.0
_GRACE_SECONDS = 10.0
_LENGTH = struct.Struct("<I")
_LAST_WORDS_BYTES = 2000


class Killed(HypuraError):
    """The worker died of SIGKILL that we did not send: its memory limit was exceeded."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest that a run may load, read its prompt, and decode."""

    load_seconds: float
    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Question:
    """What every run is asked: the same prompt, the same dice."""

    prompt_ids: tuple[int, ...]
    max_tokens: int
    sampling: inference_pb2.Sampling


@dataclass(frozen=True, slots=True)
class _Reading:
    """The worker's counters and the process's, at one moment."""

    seconds: float
    statistics: worker_pb2.WorkerStatisticsResponse
    system_seconds: float
    processor_seconds: float
    machine_seconds: float
    read_bytes: int | None
    written_bytes: int | None


class BenchWorker:
    """One worker, ended by leaving `with`. prefix: what puts it into its cgroup; environment: added to ours.

    Every call raises Killed when memory ran out, WorkerDied when it died otherwise, and the
    tree of errors.py for what the worker itself answers.
    """

    def __init__(self, prefix: Sequence[str] = (), environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hypura-"))
        self._words = (self._folder / "stderr").open("w+b")
        bootstrap = worker_pb2.WorkerBootstrap(
            socket_path=str(self._folder / "worker.s"), model="bench", log_level="warning"
        ).SerializeToString()
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-P", "-m", "hypura_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**os.environ, "GGML_NO_BACKTRACE": "1", **dict(environment)},
            start_new_session=True,
        )
        self._channel: grpc.Channel | None = None
        try:
            address = self._address(_LENGTH.pack(len(bootstrap)) + bootstrap)
            self._channel = grpc.insecure_channel(target_of(Path(address.removeprefix("unix:"))), options=OPTIONS)
            self._stub = worker_pb2_grpc.WorkerServiceStub(self._channel)  # type: ignore[no-untyped-call]
        except BaseException:
            self.close()
            raise

    def load(self, plan: placement_pb2.Plan, seconds: float) -> worker_pb2.LoadedModel:
        """Load the model as the plan says."""
        with self._explained():
            for message in self._stub.Load(worker_pb2.WorkerLoadRequest(plan=plan), timeout=seconds):
                if message.HasField("loaded"):
                    loaded: worker_pb2.LoadedModel = message.loaded
                    return loaded
        raise WorkerFailed("the load ended without saying that the model is ready")

    def tokenize(self, text: str) -> list[int]:
        """The text's tokens, with the model's begin-of-sequence token where it has one."""
        with self._explained():
            request = worker_pb2.WorkerTokenizeRequest(text=text, add_special=True)
            return list(self._stub.Tokenize(request, timeout=_SHORT_SECONDS).token_ids)

    def ask(self, question: Question, bounds: Bounds, load_seconds: float) -> Run:
        """Continue the prompt until the tokens or the seconds are over, and say what it took."""
        request = worker_pb2.WorkerGenerateRequest(
            request_id="bench",
            prompt_ids=inference_pb2.TokenIds(ids=question.prompt_ids),
            sampling=question.sampling,
            limits=inference_pb2.Limits(max_tokens=question.max_tokens, ignore_eos=True),
        )
        began = time.monotonic()
        call = self._stub.Generate(request)
        clock = _Clock(call, bounds.prefill_seconds)
        tokens: list[int] = []
        first: _Reading | None = None
        first_tokens, last = 0, began
        finished: inference_pb2.RequestStatistics | None = None
        try:
            with self._explained():
                for message in call:
                    kind = message.WhichOneof("event")
                    if kind == "finished":
                        finished = message.finished.statistics
                    elif kind == "chunk":
                        last = time.monotonic()
                        tokens += message.chunk.token_ids
                        if first is None:
                            clock.restart(bounds.decode_seconds)
                            first, first_tokens = self._read(last), len(tokens)
            cut = False
        except HypuraError:
            if not clock.over:
                raise
            cut = True
        finally:
            clock.stop()
        run = Run(
            cut=cut,
            load_seconds=load_seconds,
            prompt_tokens=len(question.prompt_ids),
            token_ids=tuple(tokens),
            ttft_seconds=first.seconds - began if first is not None else None,
        )
        if first is None or len(tokens) <= first_tokens:
            return run
        return _measured(run, first, self._read(last), len(tokens) - first_tokens, finished)

    def close(self) -> None:
        """End it, and its whole process group."""
        if self._channel is not None:
            self._channel.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(_GRACE_SECONDS)
        except ProcessLookupError:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_GRACE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _address(self, bootstrap: bytes) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise WorkerFailed("the worker was started without pipes")
        try:
            self._process.stdin.write(bootstrap)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._death() from error
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        if not ready:
            raise WorkerFailed(f"the worker did not start within {_START_SECONDS:g} s")
        if not line:
            raise self._death()
        answer: dict[str, Any] = json.loads(line)
        if "address" not in answer:
            raise WorkerFailed(str(answer.get("error", "the worker gave no address")))
        return str(answer["address"])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAVAILABLE or self._process.poll() is not None:
                raise self._death() from error
            raise from_status(code.name, error.details(), error.trailing_metadata(), "the worker") from error

    def _death(self) -> HypuraError:
        """How it ended; it gets a moment to be gone."""
        try:
            status = self._process.wait(_SHORT_SECONDS)
        except subprocess.TimeoutExpired:
            return WorkerFailed(f"worker {self._process.pid} runs but answers no more")
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _LAST_WORDS_BYTES))
        words = self._words.read().decode(errors="replace").strip()
        if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return Killed(f"worker {self._process.pid} was killed: its memory ran out")
        how = f"signal {-status}" if status < 0 else f"code {status}"
        return WorkerDied(f"worker {self._process.pid} ended with {how}; its last words: {words or 'none'}")

    def _read(self, seconds: float) -> _Reading:
        with self._explained():
            statistics = self._stub.Statistics(worker_pb2.WorkerStatisticsRequest(), timeout=_SHORT_SECONDS)
        import psutil  # only here: it costs every other command its import

        try:
            process = psutil.Process(self._process.pid)
            counters = process.io_counters() if hasattr(process, "io_counters") else None
            times, machine = process.cpu_times(), psutil.cpu_times()
        except psutil.Error as error:
            raise self._death() from error
        return _Reading(
            seconds=seconds,
            statistics=statistics,
            system_seconds=times.system,
            processor_seconds=times.user + times.system,
            machine_seconds=sum(machine)
            - machine.idle
            - getattr(machine, "iowait", 0.0)
            - getattr(machine, "guest", 0.0),
            read_bytes=counters.read_bytes if counters is not None else None,
            written_bytes=counters.write_bytes if counters is not None else None,
        )


class _Clock:
    """Cancels a call when its time is over."""

    def __init__(self, call: Any, seconds: float) -> None:
        self._call = call
        self.over = False
        self._timer = self._start(seconds)

    def restart(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self._start(seconds)

    def stop(self) -> None:
        self._timer.cancel()

    def _start(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def _expire(self) -> None:
        self.over = True
        self._call.cancel()


def _measured(
    run: Run, first: _Reading, last: _Reading, decoded: int, finished: inference_pb2.RequestStatistics | None
) -> Run:
    """The run with its decoding split up, from the readings at its first token and its last."""
    before, after = first.statistics, last.statistics
    passes = max(1, after.passes - before.passes)
    stall = (after.stall_seconds - before.stall_seconds) / passes
    forward = (after.forward_seconds - before.forward_seconds) / passes
    looked_up = after.expert_hits + after.expert_misses - before.expert_hits - before.expert_misses
    streamed = (after.bytes_read - before.bytes_read) / passes
    from_files = None if last.read_bytes is None or first.read_bytes is None else last.read_bytes - first.read_bytes
    read = streamed if streamed or from_files is None else from_files / passes
    return Run(
        cut=run.cut,
        load_seconds=run.load_seconds,
        prompt_tokens=run.prompt_tokens,
        token_ids=run.token_ids,
        ttft_seconds=finished.ttft_seconds if finished is not None else run.ttft_seconds,
        token_seconds=(last.seconds - first.seconds) / decoded
        if finished is None or not finished.tok_per_second
        else 1 / finished.tok_per_second,
        compute_seconds=forward - stall,
        stall_seconds=stall,
        system_seconds=(last.system_seconds - first.system_seconds) / passes,
        hit_rate=(after.expert_hits - before.expert_hits) / looked_up if looked_up else None,
        read_bytes=read,
        used_bytes=read - (_wasted_bytes(after) - _wasted_bytes(before)) / passes,
        others_share=_others_share(first, last),
        written_bytes=None
        if last.written_bytes is None or first.written_bytes is None
        else last.written_bytes - first.written_bytes,
        peak_bytes=after.peak_rss_bytes,
    )


def _others_share(first: _Reading, last: _Reading) -> float:
    """Share of the processor's time that other programs took between two readings, 0 to 1."""
    there = (last.seconds - first.seconds) * (os.cpu_count() or 1)
    others = last.machine_seconds - first.machine_seconds - (last.processor_seconds - first.processor_seconds)
    return min(1.0, max(0.0, others / there)) if there > 0 else 0.0


def _wasted_bytes(statistics: worker_pb2.WorkerStatisticsResponse) -> int:
    """Read ahead on a guess, and not used."""
    return max(0, getattr(statistics, "ahead_bytes", 0) - getattr(statistics, "ahead_used_bytes", 0))
