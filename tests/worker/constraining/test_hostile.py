"""Hostile formats, each while another client of the same model is answered: its stream must continue.

The other answer pauses for 2 seconds at most; the hostile one is answered or refused within 10, or ends at once when
its client leaves; and the worker's memory does not grow.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from hypura.v1 import inference_pb2, worker_pb2, worker_pb2_grpc
from hypura.v1 import placement_pb2 as pb
from tests.worker.constraining.hostile import constraints
from tests.worker.plans import make_plan
from tests.worker.process import load, worker

DEMO = Path(__file__).parents[3] / "hypura_daemon/models/demo/hypura-demo-18m-q4_k.gguf"
PAUSE_SECONDS, ANSWER_SECONDS, GONE_SECONDS = 2.0, 10.0, 1.0
GROWN_BYTES = 150_000_000
HOSTILE = constraints()
QUICK = (
    "counted counts", "digits and commas", "words and blanks", "a forced text of a million",
    "patterns that must all match", "twenty times four objects", "7,000 nested references", "GBNF: all ways at once",
)  # fmt: skip


class Stream:
    """An answer without an end, and the longest pause between its messages."""

    def __init__(self, stub: worker_pb2_grpc.WorkerServiceStub) -> None:
        self._stub = stub
        self._ended = threading.Event()
        self.tokens = 0
        self.longest_pause_seconds = 0.0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                last = time.monotonic()
                for message in self._stub.Generate(_request(random.randrange(999), max_tokens=1500, temperature=1.0)):
                    self.longest_pause_seconds = max(self.longest_pause_seconds, time.monotonic() - last)
                    last = time.monotonic()
                    self.tokens += len(message.chunk.token_ids)
                    if self._ended.is_set():
                        break
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def _request(
    seed: int, constraint: worker_pb2.Constraint | None = None, max_tokens: int = 12, temperature: float = 0
) -> worker_pb2.WorkerGenerateRequest:
    return worker_pb2.WorkerGenerateRequest(
        request_id=f"r{seed}",
        prompt=f"<|im_start|>user\nTell me about number {seed}.<|im_end|>\n<|im_start|>assistant\n",
        sampling=inference_pb2.Sampling(temperature=temperature, seed=seed),
        limits=inference_pb2.Limits(max_tokens=max_tokens, ignore_eos=constraint is None),
        constraint=constraint,
    )


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worker_pb2_grpc.WorkerServiceStub]:
    with worker(tmp_path_factory.mktemp("worker")) as (_, stub):
        load(
            stub,
            make_plan(
                DEMO, pb.MODE_RESIDENT, sequences=3, exact=False, context_tokens=4096, ubatch_tokens=64, threads=1
            ),
        )
        list(stub.Generate(_request(1, worker_pb2.Constraint(any_json=True)), timeout=60))  # reads the vocabulary
        yield stub


def _statistics(stub: worker_pb2_grpc.WorkerServiceStub) -> worker_pb2.WorkerStatisticsResponse:
    return stub.Statistics(worker_pb2.WorkerStatisticsRequest(), timeout=10)


def _check(stub: worker_pb2_grpc.WorkerServiceStub, name: str) -> None:
    constraint, before = HOSTILE[name], _statistics(stub)
    stream = Stream(stub)
    try:
        while not stream.tokens:
            time.sleep(0.01)
        stream.longest_pause_seconds = 0.0
        started = time.monotonic()
        try:
            list(stub.Generate(_request(2, constraint), timeout=ANSWER_SECONDS))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, f"{name}: {error.details()}"
        assert time.monotonic() - started < ANSWER_SECONDS, name
        # Once more, by a client that leaves while its grammar is made, or at its first token.
        leaving = stub.Generate(_request(3, constraint, max_tokens=1000), timeout=ANSWER_SECONDS)
        time.sleep(0.05)
        leaving.cancel()
        left = time.monotonic()
        while _statistics(stub).active_requests > 1 or _statistics(stub).queued_requests:
            assert time.monotonic() - left < GONE_SECONDS, f"{name}: its answer continued"
        tokens = stream.tokens
        while stream.tokens == tokens:
            assert time.monotonic() - left < PAUSE_SECONDS and stream.error is None, name
    finally:
        stream.end()
    assert stream.error is None, f"{name}: {stream.error}"
    assert stream.longest_pause_seconds < PAUSE_SECONDS, name
    assert _statistics(stub).rss_bytes < before.rss_bytes + GROWN_BYTES, name


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_format_does_not_hold_up_others(stub: worker_pb2_grpc.WorkerServiceStub, name: str) -> None:
    _check(stub, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in QUICK])
def test_no_other_hostile_format_does(stub: worker_pb2_grpc.WorkerServiceStub, name: str) -> None:
    _check(stub, name)


def test_many_hostile_formats_at_once_do_not_fill_the_memory(stub: worker_pb2_grpc.WorkerServiceStub) -> None:
    before = _statistics(stub)
    names = ["counted counts", "2,000 values", "words and blanks", "a forced text of a million"]
    calls = [stub.Generate(_request(i, HOSTILE[names[i % 4]], max_tokens=20)) for i in range(24)]
    for call in calls:
        try:
            list(call)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
    assert _statistics(stub).rss_bytes < before.rss_bytes + GROWN_BYTES
