"""A measured worker: the worker process that a daemon runs, but in a cgroup and with its counters read.

bench ──stdin: length, WorkerBootstrap──► worker in its cgroup (closing stdin ends the worker)
      ◄──stdout: {"address": "unix:…"}──
      ──gRPC: Load, Tokenize, Generate, Statistics──►
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from hypura.json_lines import from_line
from hypura.v1 import inference_pb2, placement_pb2, worker_pb2, worker_pb2_grpc
from hypura_client.bench.measured_process import MeasuredProcess, Usage
from hypura_client.bench.runs import Run, TimeLimits, Workload, less
from hypura_client.channel import OPTIONS, target_of
from hypura_client.errors import HypuraError, WorkerFailed, from_status

_START_SECONDS = 60.0
_SHORT_SECONDS = 30.0
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class _Reading:
    """The worker's counters and the process's, at the time `seconds`."""

    seconds: float
    statistics: worker_pb2.WorkerStatisticsResponse
    usage: Usage


class MeasuredWorker:
    """A worker, called through gRPC. Every call raises Killed when memory ran out, WorkerDied when
    the process ended otherwise, and the errors of errors.py that the worker itself reports.
    """

    def __init__(self, process: MeasuredProcess) -> None:
        self._process = process
        bootstrap = worker_pb2.WorkerBootstrap(
            socket_path=str(process.folder / "worker.s"), model="bench", log_level="warning"
        ).SerializeToString()
        process.send(_LENGTH.pack(len(bootstrap)) + bootstrap)
        try:
            answer = from_line(worker_pb2.WorkerBootstrapResponse, process.line(_START_SECONDS))
        except TimeoutError as error:
            raise WorkerFailed(f"the worker did not start within {_START_SECONDS:g} s") from error
        if not answer.address:
            raise WorkerFailed(answer.error or "the worker gave no address")
        address = Path(answer.address.removeprefix("unix:"))
        self._channel = grpc.insecure_channel(target_of(address), options=OPTIONS)
        self._stub = worker_pb2_grpc.WorkerServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def load(self, plan: placement_pb2.Plan, seconds: float) -> worker_pb2.LoadedModel:
        """Loads the model as planned."""
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

    def generate(self, workload: Workload, limits: TimeLimits, load_seconds: float) -> Run:
        """Continues the prompt until the tokens or the time run out. Returns what that took."""
        request = worker_pb2.WorkerGenerateRequest(
            request_id="bench",
            prompt_ids=inference_pb2.TokenIds(ids=workload.prompt_ids),
            sampling=inference_pb2.Sampling(
                temperature=workload.temperature, top_k=0, top_p=1.0, repeat_penalty=1.0, seed=workload.seed
            ),
            limits=inference_pb2.Limits(max_tokens=workload.max_tokens, ignore_eos=True),
        )
        began = time.monotonic()
        call = self._stub.Generate(request)
        clock = _Clock(call, limits.prefill_seconds)
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
                            clock.restart(limits.decode_seconds)
                            first, first_tokens = self._read(last), len(tokens)
            cut = False
        except HypuraError:
            if not clock.expired:
                raise
            cut = True
        finally:
            clock.stop()
        run = Run(
            cut=cut,
            load_seconds=load_seconds,
            prompt_tokens=len(workload.prompt_ids),
            token_ids=tuple(tokens),
            ttft_seconds=first.seconds - began if first is not None else None,
        )
        if first is None or len(tokens) <= first_tokens:
            return run
        return _measured(run, first, self._read(last), len(tokens) - first_tokens, finished)

    def close(self) -> None:
        """Closes the connection; the process's owner ends the process."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAVAILABLE or self._process.ended:
                raise self._process.death() from error
            raise from_status(code.name, error.details(), error.trailing_metadata(), "the worker") from error

    def _read(self, seconds: float) -> _Reading:
        with self._explained():
            statistics = self._stub.Statistics(worker_pb2.WorkerStatisticsRequest(), timeout=_SHORT_SECONDS)
        return _Reading(seconds, statistics, self._process.usage())


class _Clock:
    """Cancels a call when its time has run out."""

    def __init__(self, call: Any, seconds: float) -> None:
        self._call = call
        self.expired = False
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
        self.expired = True
        self._call.cancel()


def _measured(
    run: Run, first: _Reading, last: _Reading, decoded: int, finished: inference_pb2.RequestStatistics | None
) -> Run:
    """The run with its decoding time divided up, from the readings at its first and last token."""
    before, after = first.statistics, last.statistics
    passes = max(1, after.passes - before.passes)
    stall = (after.stall_seconds - before.stall_seconds) / passes
    forward = (after.forward_seconds - before.forward_seconds) / passes
    looked_up = after.expert_hits + after.expert_misses - before.expert_hits - before.expert_misses
    streamed = (after.bytes_read - before.bytes_read) / passes
    from_files = less(last.usage.read_bytes, first.usage.read_bytes)
    read = streamed if streamed or from_files is None else from_files / passes
    return replace(
        run,
        ttft_seconds=finished.ttft_seconds if finished is not None else run.ttft_seconds,
        token_seconds=(last.seconds - first.seconds) / decoded
        if finished is None or not finished.tok_per_second
        else 1 / finished.tok_per_second,
        compute_seconds=forward - stall,
        stall_seconds=stall,
        system_seconds=(last.usage.system_seconds - first.usage.system_seconds) / passes,
        hit_rate=(after.expert_hits - before.expert_hits) / looked_up if looked_up else None,
        read_bytes=read,
        used_bytes=read - (_wasted_bytes(after) - _wasted_bytes(before)) / passes,
        others_share=first.usage.others_share(last.usage),
        written_bytes=less(last.usage.written_bytes, first.usage.written_bytes),
        peak_bytes=after.peak_rss_bytes,
    )


def _wasted_bytes(statistics: worker_pb2.WorkerStatisticsResponse) -> int:
    """Bytes that were prefetched and not used."""
    return max(0, statistics.prefetched_bytes - statistics.prefetched_used_bytes)
