"""Small random models, made once per session, and an engine around one."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp  # noqa: F401 - before numpy
import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura.v1 import placement_pb2 as pb
from hypura_worker.constraining.compiler import compile_source
from hypura_worker.constraining.constraints import markers_of, source_of, with_markers
from hypura_worker.constraining.matcher import Matcher, MatcherMaker
from hypura_worker.engine.events import Chunk, Event, Finished
from hypura_worker.engine.loop import Engine
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.engine.request import Request
from hypura_worker.engine.sampler import Sampler
from hypura_worker.loaded_model import LlamaModel
from tests.models.random_architectures import write_random_model

_ANSWER_SECONDS = 60


@pytest.fixture(scope="session")
def moe_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random qwen3moe: 8 experts, 2 chosen."""
    path = tmp_path_factory.mktemp("models") / "moe.gguf"
    write_random_model("qwen3moe", True, path, layers=4)
    return path


@pytest.fixture(scope="session")
def dense_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random llama of 6 layers."""
    path = tmp_path_factory.mktemp("models") / "dense.gguf"
    write_random_model("llama", False, path, layers=6)
    return path


@dataclass
class Answer:
    """What a request was answered with."""

    events: queue.Queue[Event] = field(default_factory=queue.Queue)
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    seen: list[Event] = field(default_factory=list)

    def wait(self) -> Finished:
        """Until the end; raises what the request failed with."""
        while True:
            event = self.events.get(timeout=_ANSWER_SECONDS)
            self.seen.append(event)
            if isinstance(event, Chunk):
                self.tokens += event.tokens
                self.text += event.text
            elif isinstance(event, Finished):
                return event
            elif isinstance(event, Exception):
                raise event


@dataclass
class Running:
    """An engine at work."""

    model: LlamaModel
    engine: Engine
    broken: list[Exception]

    def ask(self, prompt: list[int], max_tokens: int = 16, **sampling: Any) -> tuple[Request, Answer]:
        """Submit a greedy request (unless sampling says otherwise) that ignores end tokens."""
        limits = inference_pb2.Limits(max_tokens=max_tokens, ignore_eos=True)
        return self.ask_with(prompt, limits, **sampling)

    def ask_with(
        self,
        prompt: list[int],
        limits: inference_pb2.Limits,
        constraint: worker_pb2.Constraint | None = None,
        **sampling: Any,
    ) -> tuple[Request, Answer]:
        """Submit a request with these limits, bound by the constraint."""
        answer = Answer()
        chosen = Sampling.from_proto(inference_pb2.Sampling(**({"temperature": 0.0} | sampling)))
        bounds = Limits.from_proto(limits)
        matcher = self.matcher(constraint) if constraint is not None else None
        sampler = Sampler(chosen, bounds, self.model.vocabulary, self.model.ready().size_tokens, matcher)
        request = Request("test", prompt, chosen, bounds, sampler, answer.events.put)
        self.engine.submit(request)
        return request, answer

    def matcher(self, constraint: worker_pb2.Constraint) -> Matcher:
        """What follows an answer through the constraint, made here and now."""
        maker = MatcherMaker(self.model.vocabulary)
        compiled = compile_source(source_of(constraint))
        assert not compiled.error
        return maker.make(with_markers(compiled.grammar, markers_of(constraint), maker.special_token))

    def tokens(self, prompt: list[int], max_tokens: int = 16, **sampling: float) -> list[int]:
        """The tokens of the answer."""
        _, answer = self.ask(prompt, max_tokens, **sampling)
        answer.wait()
        return answer.tokens


@contextmanager
def running(plan: pb.Plan) -> Iterator[Running]:
    """An engine for the plan, ended afterwards."""
    model = LlamaModel(plan)
    broken: list[Exception] = []
    engine = Engine(model, broken.append)
    engine.start()
    try:
        yield Running(model, engine, broken)
    finally:
        engine.stop()
        model.close()


@pytest.fixture(scope="session")
def run_engine() -> Callable[[pb.Plan], object]:
    """The context manager above."""
    return running
