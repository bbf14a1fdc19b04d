"""Requests through gRPC, to workers that hold no model: answers, errors as statuses, cancellation."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.v1 import inference_pb2, inference_pb2_grpc
from hypura_daemon import errors
from hypura_daemon.inference import MAX_TEXTS, Inference
from hypura_daemon.inference_rpc import InferenceServicer
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.types import LoadRequest, Plan
from hypura_daemon.rpc import MAX_MESSAGE_BYTES, METADATA_KEY, ErrorInterceptor, status_of
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from hypura_daemon.workers.snapshot import ModelState
from hypura_daemon.workers.supervisor import Supervisor
from tests.daemon.workers.test_supervisor import FAKE, make_plan

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}{% if tools %}tools{% endif %}"


@dataclass(frozen=True)
class Registered:
    """As much of a registered model as requests look at."""

    name: str
    metadata: dict[str, str] = field(default_factory=dict)


class Shelf:
    """Models without files: the registry is tested elsewhere."""

    def get(self, name: str) -> Registered:
        if name == "bug":
            raise ZeroDivisionError("secret detail")
        if name not in ("m", "plain", "dying"):
            raise errors.ModelNotFound(f'no model "{name}"; add it')
        return self.open(name)

    def open(self, name: str) -> Registered:
        return Registered(name, {} if name == "plain" else {"tokenizer.chat_template": TEMPLATE})


@dataclass(frozen=True)
class Served:
    stub: Any
    supervisor: Supervisor


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    async def planner(name: str, request: LoadRequest, *, whole: bool) -> Plan:
        return make_plan(name, 1)

    with tempfile.TemporaryDirectory(prefix="hyp") as folder:

        def make_worker(name: str) -> WorkerProcess:
            command = (sys.executable, str(FAKE), "die-answer" if name == "dying" else "well")
            return WorkerProcess(name, Path(folder), WorkerDeadlines(20, 20, 20, 5), command=command)

        supervisor = Supervisor(planner, make_worker, budget_bytes=10, reload_wait_seconds=5)
        server = grpc.aio.server(interceptors=[ErrorInterceptor()])
        inference = Inference(supervisor, cast(Registry, Shelf()))
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(InferenceServicer(inference), server)
        server.add_insecure_port(f"unix:{folder}/t.sock")
        await server.start()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            async with grpc.aio.insecure_channel(f"unix:{folder}/t.sock") as channel:
                try:
                    yield Served(inference_pb2_grpc.InferenceServiceStub(channel), supervisor)
                finally:
                    supervisor.end()
                    await server.stop(0.1)


async def text_of(call: Any) -> str:
    return " ".join([message.chunk.text async for message in call if message.HasField("chunk")])


async def test_generate_says_what_it_cost() -> None:
    async with serving() as served:
        messages = [m async for m in served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="a b"))]
        assert messages[0].prefill.prompt_tokens == 1
        assert [m.chunk.text for m in messages[1:-1]] == ["a", "b"]
        assert messages[-1].finished.statistics.output_tokens == 2
        assert messages[-1].finished.load_seconds > 0
        messages = [m async for m in served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="a"))]
        assert messages[-1].finished.load_seconds == 0


async def test_chat_renders_the_template_and_adds_bos_once() -> None:
    """The tokenizer adds bos by itself, so the template's must go."""
    async with serving() as served:
        request = inference_pb2.ChatRequest(
            model="m", messages=[inference_pb2.ChatMessage(role="user", content="hi <s>")]
        )
        assert await text_of(served.stub.Chat(request)) == "hi <s>"
        request.tools_json = '[{"type": "function"}]'
        assert await text_of(served.stub.Chat(request)) == "hi <s> tools"


async def test_embed_and_tokenize() -> None:
    async with serving() as served:
        answer = await served.stub.Embed(inference_pb2.EmbedRequest(model="m", texts=["a", "bcd"]))
        assert [list(e.values) for e in answer.embeddings] == [[1.0], [3.0]]
        assert answer.prompt_tokens == 2
        tokens = await served.stub.Tokenize(inference_pb2.TokenizeRequest(model="m", text="A"))
        assert list(tokens.token_ids) == [65]


Call = Callable[[Any], Any]
USER = inference_pb2.ChatMessage(role="user", content="x")


@pytest.mark.parametrize(
    ("call", "code", "name", "words"),
    [
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="none", prompt="x"))),
         "NOT_FOUND", "ModelNotFound", "add it"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="m"))),
         "INVALID_ARGUMENT", "InvalidRequest", "neither prompt nor prompt_ids"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="m", prompt="too long"))),
         "INVALID_ARGUMENT", "PromptTooLong", "9 tokens"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="dying", prompt="a b c"))),
         "UNAVAILABLE", "WorkerDied", "SIGSEGV"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="bug", prompt="x"))),
         "INTERNAL", "Internal", "its log has the traceback"),
        (lambda s: text_of(s.Chat(inference_pb2.ChatRequest(model="plain", messages=[USER]))),
         "INVALID_ARGUMENT", "InvalidRequest", '"plain" does not support chat'),
        (lambda s: text_of(s.Chat(inference_pb2.ChatRequest(model="m"))),
         "INVALID_ARGUMENT", "InvalidRequest", "no message"),
        (lambda s: s.Embed(inference_pb2.EmbedRequest(model="m")),
         "INVALID_ARGUMENT", "InvalidRequest", f"give 1 to {MAX_TEXTS}"),
        (lambda s: s.Tokenize(inference_pb2.TokenizeRequest(model="bug", text="x")),
         "INTERNAL", "Internal", "hypurad met a defect"),
    ],
)  # fmt: skip
async def test_errors_leave_as_statuses(call: Call, code: str, name: str, words: str) -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(served.stub)
    assert caught.value.code().name == code
    assert dict(caught.value.trailing_metadata())[METADATA_KEY] == name
    assert words in caught.value.details()
    assert "secret" not in caught.value.details()


async def test_a_client_that_goes_takes_its_answer_along() -> None:
    async with serving() as served:
        call = served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="forever"))
        async for message in call:
            if message.HasField("chunk"):
                break
        [snapshot] = served.supervisor.status()
        assert snapshot.worker is not None
        assert (await snapshot.worker.statistics()).active_requests == 1
        call.cancel()
        while (await snapshot.worker.statistics()).active_requests:
            pass  # Each call waits for the worker; only a cancelled "forever" ends.
        assert (await served.stub.Tokenize(inference_pb2.TokenizeRequest(model="m", text="A"))).token_ids
        [snapshot] = served.supervisor.status()
        assert (snapshot.state, snapshot.running_requests) == (ModelState.READY, 0)


@given(st.text(min_size=1000, max_size=5000))
def test_messages_fit_their_headers(text: str) -> None:
    _, message, name = status_of(errors.WorkerDied(text * 3))
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
    assert name == "WorkerDied"


def test_every_error_has_a_status() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.HypuraError):
            if kind in (errors.HypuraError, errors.SettingsError):
                continue
            assert status_of(kind("x"))[2] == kind.__name__
