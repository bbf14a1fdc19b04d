"""The worker as a process: bootstrap, load, answers, errors by name, and its end with the daemon's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import grpc
import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura.v1 import placement_pb2 as pb
from hypura_worker import service
from hypura_worker.errors import LoadFailed
from hypura_worker.prompts import Prompts
from tests.worker.plans import make_plan
from tests.worker.process import load, start, worker

GREEDY = inference_pb2.Sampling(temperature=0)


def _ask(prompt: list[int], max_tokens: int = 8, **limits: Any) -> worker_pb2.WorkerGenerateRequest:
    return worker_pb2.WorkerGenerateRequest(
        request_id="r",
        prompt_ids=inference_pb2.TokenIds(ids=prompt),
        sampling=GREEDY,
        limits=inference_pb2.Limits(max_tokens=max_tokens, ignore_eos=True, **limits),
    )


def _kind_of(error: grpc.RpcError) -> str:
    trailers: Any = error.trailing_metadata()
    return str(dict(trailers)["hypura-error"])


def test_load_answer_and_statistics(moe_model: Path, tmp_path: Path) -> None:
    with worker(tmp_path) as (_, stub):
        loaded = load(stub, make_plan(moe_model, pb.MODE_EXPERT_STREAMING, slots=16))
        assert loaded.slots == 16
        size = moe_model.stat().st_size
        plan = make_plan(moe_model, pb.MODE_EXPERT_STREAMING)
        assert plan.resident_bytes <= loaded.bytes_read < size, "a load must read what is resident, no more"
        assert loaded.can_generate
        *chunks, last = stub.Generate(_ask([1, 2, 3, 4]), timeout=60)
        assert chunks[0].prefill.prompt_tokens == 4
        costs = last.finished.statistics
        assert (costs.prompt_tokens, costs.output_tokens) == (4, 8)
        assert 0 < costs.hit_rate < 1
        assert costs.bytes_read_per_token > 0
        assert costs.worker_peak_rss_bytes > 20_000_000
        statistics = stub.Statistics(worker_pb2.WorkerStatisticsRequest(), timeout=10)
        assert (statistics.finished_requests, statistics.output_tokens, statistics.slots) == (1, 8, 16)
        (vectors,) = stub.Embed(worker_pb2.WorkerEmbedRequest(texts=["tok_1 tok_2"], normalize=True), timeout=60)
        assert sum(v * v for v in vectors.embeddings[0].values) == pytest.approx(1, abs=1e-4)
        tokenized = stub.Tokenize(worker_pb2.WorkerTokenizeRequest(text="tok_1 tok_2", add_special=True), timeout=60)
        as_ids = worker_pb2.WorkerEmbedRequest(
            token_texts=[inference_pb2.TokenIds(ids=tokenized.token_ids)], normalize=True
        )
        (again,) = stub.Embed(as_ids, timeout=60)
        assert again.embeddings[0] == vectors.embeddings[0]
        # Embedding leaves generation as it was.
        *_, again = stub.Generate(_ask([1, 2, 3, 4]), timeout=60)
        assert again.finished.statistics.output_tokens == 8


async def test_the_thread_that_loads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP counts the team of every thread that computed: one too many, and decoding sleeps between its nodes."""
    threads: list[threading.Thread] = []

    def load(plan: pb.Plan, progress: Callable[[float], None]) -> None:
        threads.append(threading.current_thread())
        raise LoadFailed("enough was seen")

    monkeypatch.setattr(service, "LlamaModel", load)
    with pytest.raises(LoadFailed):
        await anext(service.Worker(lambda reason: None).Load(worker_pb2.WorkerLoadRequest(), AsyncMock()))
    threads[0].join(timeout=10)
    assert not threads[0].is_alive()


async def test_a_sampler_whose_client_leaves_while_it_is_made_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: the thread that made it continued, and the sampler was never freed."""
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def __init__(self, *arguments: object) -> None:
            begun.set()
            go_on.wait(10)

        def close(self) -> None:
            closed.set()

    monkeypatch.setattr(service, "Sampler", Slow)
    monkeypatch.setattr(service.Worker, "_ready", lambda self: (MagicMock(), MagicMock()))
    monkeypatch.setattr(Prompts, "to_continue", AsyncMock(return_value=[1]))
    call = asyncio.ensure_future(anext(service.Worker(lambda reason: None).Generate(_ask([1]), AsyncMock())))
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)


def test_errors_carry_their_kind(moe_model: Path, tmp_path: Path) -> None:
    with worker(tmp_path) as (_, stub):
        with pytest.raises(grpc.RpcError) as early:
            list(stub.Generate(_ask([1]), timeout=10))
        assert _kind_of(early.value) == "UnsupportedModel"
        load(stub, make_plan(moe_model, pb.MODE_RESIDENT))
        cases = [
            (_ask([1] * 300), grpc.StatusCode.INVALID_ARGUMENT, "PromptTooLong"),
            (_ask([10_000_000]), grpc.StatusCode.INVALID_ARGUMENT, "InvalidRequest"),
            (_ask([1], top_logprobs=21), grpc.StatusCode.INVALID_ARGUMENT, "InvalidRequest"),
            (_ask([1], json_schema="{"), grpc.StatusCode.INVALID_ARGUMENT, "InvalidRequest"),
        ]
        for request, code, name in cases:
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.Generate(request, timeout=30))
            assert (caught.value.code(), _kind_of(caught.value)) == (code, name)
        *_, last = stub.Generate(_ask([1] * 300, truncate=True), timeout=60)
        assert last.finished.statistics.prompt_tokens < 256


def test_a_request_keeps_to_the_context_that_it_has(moe_model: Path, tmp_path: Path) -> None:
    """num_ctx counts though a larger context is loaded: for prompts, for answers, and for texts to embed."""
    with worker(tmp_path) as (_, stub):
        load(stub, make_plan(moe_model, pb.MODE_RESIDENT))
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Generate(_ask([1] * 100, context_tokens=64), timeout=30))
        assert _kind_of(caught.value) == "PromptTooLong"
        *_, cut = stub.Generate(_ask([1] * 100, truncate=True, context_tokens=64), timeout=60)
        assert cut.finished.statistics.prompt_tokens == 64 - 8
        *_, ended = stub.Generate(_ask([1] * 60, max_tokens=-1, context_tokens=64), timeout=60)
        assert ended.finished.reason == inference_pb2.FINISH_REASON_LENGTH
        assert ended.finished.statistics.output_tokens == 4
        long, start_ = list(range(1, 101)), list(range(1, 33))
        texts = [inference_pb2.TokenIds(ids=ids) for ids in (long, start_)]
        request = worker_pb2.WorkerEmbedRequest(token_texts=texts, truncate=True, context_tokens=32)
        first, second = stub.Embed(request, timeout=60)
        assert first.embeddings == second.embeddings, "the beginning of a long text counts, as in Ollama"
        assert first.prompt_tokens + second.prompt_tokens == 64


def test_it_ends_when_standard_input_closes(moe_model: Path, tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=2) != 0


def test_it_ends_on_sigterm(tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    process.terminate()
    assert process.wait(timeout=10) == 0
    process.communicate()


def test_started_by_hand_it_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hypura_worker"], input=b"", capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert b"started by hypurad" in done.stderr
