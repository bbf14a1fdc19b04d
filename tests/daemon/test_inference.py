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

from hypura.error_kinds import METADATA_KEY
from hypura.v1 import inference_pb2, inference_pb2_grpc
from hypura_daemon import errors
from hypura_daemon.chat.infill import InfillTokens, infill_tokens
from hypura_daemon.chat.job import adaptations, chat_job
from hypura_daemon.chat.prompts.control_texts import ControlTexts
from hypura_daemon.chat.request import from_proto
from hypura_daemon.inference import MAX_TEXTS, Inference
from hypura_daemon.models.model import Model
from hypura_daemon.models.overrides import Overrides
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.state import ModelState
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.rpc.errors import MAX_STATUS_BYTES, ErrorInterceptor, status_of
from hypura_daemon.rpc.inference import InferenceServicer
from hypura_daemon.scheduling.context import context_for
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from tests.daemon.residency.harness import FAKE, make_plan

ROOM_TOKENS = 65536
"""As much context as the memory holds."""
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}{% if tools %}tools{% endif %}"
LAST = "{{ messages[-1].content }}"
TEMPLATES = {
    "m": TEMPLATE,
    "dying": TEMPLATE,
    "long": TEMPLATE,
    "long-bound": TEMPLATE,
    "thinker": LAST + "{# <think> #}",
    "willing": LAST + "{# <think> #}{{ ' thinks' if enable_thinking }}",
    "caller": LAST + "{# tools <tool_call> #}",
    "broken": "{% if %}",
    "refuser": "{{ raise_exception('no texts') }}",
}
OVERRIDES = {
    "overridden": Overrides(
        template="{% for m in messages %}{{ m.role }}={{ m.content }} {% endfor %}", template_style="jinja", system="S",
        messages=(("user", "a"), ("assistant", "b")), parameters=(("stop", "x"), ("num_predict", "2")),
    ),
    "old": Overrides(template="{{ .System }}|{{ .Prompt }}>{{ .Response }}<", template_style="go"),
    "wide": Overrides(parameters=(("num_ctx", "3000"),)),
    "long-bound": Overrides(parameters=(("num_ctx", "6000"),)),
    "filler": Overrides(template="P {{ .Prompt }} S {{ .Suffix }} M", template_style="go"),
}  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    context_length: int = 4096


@dataclass(frozen=True)
class Registered:
    """As much of a registered model as requests look at."""

    name: str
    overrides: Overrides
    metadata: dict[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("completion",)
    hyperparameters: Numbers = field(default_factory=Numbers)

    @property
    def generates(self) -> bool:
        return "completion" in self.capabilities


class Shelf:
    """Models without files: the registry is tested elsewhere."""

    def get(self, name: str) -> Registered:
        if name == "bug":
            raise ZeroDivisionError("secret detail")
        if name not in (*TEMPLATES, *OVERRIDES, "plain", "vectors", "gap"):  # A long one is trained for more.
            raise errors.ModelNotFound(f'no model "{name}"; add it')
        metadata: dict[str, Any] = {"tokenizer.chat_template": TEMPLATES[name]} if name in TEMPLATES else {}
        if name == "gap":
            metadata = {
                f"tokenizer.ggml.fim_{part}_token_id": number for number, part in enumerate(("pre", "suf", "mid"))
            }
        abilities: dict[str, tuple[str, ...]] = {
            "m": ("completion", "tools"), "thinker": ("completion", "thinking"), "willing": ("completion", "thinking"),
            "caller": ("completion", "tools"),
            "vectors": ("embedding",),
        }  # fmt: skip
        overrides = OVERRIDES.get(name, Overrides())
        trained = Numbers(131072 if name.startswith("long") else 4096)
        return Registered(name, overrides, metadata, abilities.get(name, ("completion",)), trained)

    def model(self, entry: Registered) -> Registered:
        return entry


@dataclass(frozen=True)
class Served:
    stub: Any
    supervisor: Supervisor
    inference: Inference
    planned: list[LoadRequest]


@asynccontextmanager
async def serving(client_stall_seconds: float = 60.0) -> AsyncIterator[Served]:
    planned: list[LoadRequest] = []

    async def planner(name: str, request: LoadRequest, *, whole: bool) -> Plan:
        planned.append(request)
        if request.least_context_tokens > ROOM_TOKENS:
            raise errors.ContextTooLong("too much", largest_tokens=ROOM_TOKENS)
        usual_tokens = request.context_tokens or 4096
        return make_plan(name, 1, context_tokens=context_for(usual_tokens, request.least_context_tokens, 131072))

    with tempfile.TemporaryDirectory(prefix="hyp") as folder:

        def make_worker(name: str) -> WorkerProcess:
            command = (sys.executable, str(FAKE), "die-answer" if name == "dying" else "well")
            return WorkerProcess(name, Path(folder), WorkerDeadlines(20, 20, 20, 5), command=command)

        supervisor = Supervisor(planner, make_worker, memory_budget_bytes=10, reload_wait_seconds=5)
        server = grpc.aio.server(interceptors=[ErrorInterceptor(client_stall_seconds)])
        inference = Inference(supervisor, cast(Registry, Shelf()), context_tokens=4096)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(InferenceServicer(inference), server)
        server.add_insecure_port(f"unix:{folder}/t.sock")
        await server.start()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            async with grpc.aio.insecure_channel(f"unix:{folder}/t.sock") as channel:
                try:
                    yield Served(inference_pb2_grpc.InferenceServiceStub(channel), supervisor, inference, planned)
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
        loading_seconds = messages[-1].finished.load_seconds
        messages = [m async for m in served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="a"))]
        # As Ollama tells it: the time until the model was ready, also where it was loaded already.
        assert 0 < messages[-1].finished.load_seconds < loading_seconds


async def test_chat_renders_the_template_and_adds_bos_once() -> None:
    """The tokenizer adds bos itself, so the template's is removed."""
    async with serving() as served:
        request = inference_pb2.ChatRequest(
            model="m", messages=[inference_pb2.ChatMessage(role="user", content="hi <s>")]
        )
        assert await text_of(served.stub.Chat(request)) == "hi <s>"
        request.tools_json = '[{"type": "function", "function": {"name": "f"}}]'
        assert await text_of(served.stub.Chat(request)) == "hi <s> tools"


def chat(model: str, *contents: str, **fields: Any) -> inference_pb2.ChatRequest:
    """A conversation whose speakers take turns."""
    roles = ("user", "assistant")
    messages = [inference_pb2.ChatMessage(role=roles[i % 2], content=text) for i, text in enumerate(contents)]
    return inference_pb2.ChatRequest(model=model, messages=messages, **fields)


async def events_of(served: Served, request: inference_pb2.ChatRequest) -> list[str]:
    """Thinking in brackets, content, calls, and how many tokens each chunk reports."""
    told = []
    async for event in served.stub.Chat(request):
        if event.HasField("chunk"):
            thinking = f"[{event.chunk.thinking}]" if event.chunk.thinking else ""
            told.append(f"{thinking}{event.chunk.text}:{len(event.chunk.token_ids)}")
        elif event.HasField("tool_call"):
            assert event.tool_call.id.startswith("call_")
            told.append(f"{event.tool_call.name}({event.tool_call.arguments_json})")
    return told


async def test_a_model_that_can_think_does_where_the_client_says_so() -> None:
    async with serving() as served:
        said = {
            wish: await text_of(served.stub.Chat(chat("willing", "x", **fields)))
            for wish, fields in {
                "nothing": {}, "able": {"think_if_able": True}, "no": {"think_if_able": True, "think": False},
            }.items()
        }  # fmt: skip
        assert said == {"nothing": "x", "able": "x thinks", "no": "x"}
        assert await text_of(served.stub.Chat(chat("m", "x", think_if_able=True))) == "x"


async def test_thinking_and_calls_are_separated_and_every_token_counts_once() -> None:
    """The worker repeats the prompt's words, one token each, without the spaces between."""
    async with serving() as served:
        assert await events_of(served, chat("thinker", "<think> hm so </think> yes <think> !")) == [
            ":1", "[hm]:1", "[so]:1", ":1", "yes:1", "<think>:1", "!:1",
        ]  # fmt: skip
        tools = '[{"type": "function", "function": {"name": "f"}}]'
        request = chat("caller", 'ok <tool_ call> {"name": "f" } </tool_call> <tool_call>', tools_json=tools)
        assert await events_of(served, request) == ["ok:1", ":6", "f({})", "<tool_call>:1"]
        request.tool_choice = "none"
        assert await text_of(served.stub.Chat(request)) == 'ok <tool_ call> {"name": "f" } </tool_call> <tool_call>'


async def test_a_modelfile_comes_before_the_conversation() -> None:
    async with serving() as served:
        assert await text_of(served.stub.Chat(chat("overridden", "c"))) == "system=S user=a assistant=b user=c"
        request = chat("overridden", "c")
        request.messages.insert(0, inference_pb2.ChatMessage(role="system", content="T"))
        # The Modelfile's messages come first, and a system message of the conversation replaces its own.
        assert await text_of(served.stub.Chat(request)) == "user=a assistant=b system=T user=c"


async def test_go_templates_and_templates_of_the_request() -> None:
    async with serving() as served:
        assert await text_of(served.stub.Chat(chat("old", "a", "b", "c"))) == "|a>b<|c>"
        assert await text_of(served.stub.Chat(chat("m", "a", template="{{ .Prompt }} go"))) == "a go"
        assert await text_of(served.stub.Chat(chat("plain", "a", template="{{ messages[0].content }} j"))) == "a j"


async def test_a_model_without_a_template_that_can_be_used_has_the_default_one() -> None:
    """As llama-server does; the stop strings that it needs are not reported as a client's."""
    async with serving() as served:
        for model in ("plain", "broken"):
            assert (
                await text_of(served.stub.Chat(chat(model, "a", "b", "c"))) == "User: a Assistant: b User: c Assistant:"
            )
    entry = Shelf().get("plain")
    job = chat_job(from_proto(chat("plain", "a")), cast(Model, entry), entry.overrides)
    assert job.usable().limits.stop == ["\n\nUser:", "\nUser:"] and job.usable().own_stops == {"\n\nUser:", "\nUser:"}
    controls = ControlTexts(["<|im_start|>", "<|im_end|>"])
    assert job.usable().prompt("", "", 0, controls).text == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    [told] = adaptations(cast(Model, Shelf().get("broken")), Overrides())
    assert "cannot be used" in told and "syntax error in line 1" in told
    assert adaptations(cast(Model, Shelf().get("vectors")), Overrides()) == []


async def test_an_assistants_last_message_is_continued() -> None:
    async with serving() as served:
        assert await text_of(served.stub.Chat(chat("m", "a", "Sure, "))) == "a Sure,"


async def test_the_middle_is_filled_in() -> None:
    async with serving() as served:
        request = inference_pb2.GenerateRequest(model="filler", prompt="a", suffix="b")
        assert await text_of(served.stub.Generate(request)) == "P a S b M"
        request.model = "gap"
        messages = [message async for message in served.stub.Generate(request)]
        assert messages[-1].HasField("finished"), "the worker was asked with tokens"
        tokens = InfillTokens(1, 2, 3)
        assert tokens.prompt([0], [10], [20]) == [0, 1, 10, 2, 20, 3]
        assert InfillTokens(1, 2, None).prompt([0], [10], [20]) == [0, 2, 20, 1, 10]
        assert infill_tokens(
            {"tokenizer.ggml.prefix_token_id": 5, "tokenizer.ggml.suffix_token_id": 6}
        ) == InfillTokens(5, 6, None)
        assert infill_tokens({"tokenizer.ggml.fim_pre_token_id": 5}) is None


async def test_tokens_of_a_chat_are_counted() -> None:
    async with serving() as served:
        counted = await served.inference.count_chat_tokens(from_proto(chat("m", "hello")))
        assert counted == len("hello ")  # The worker's tokens are bytes.


async def test_embed_and_tokenize() -> None:
    async with serving() as served:
        answer = await served.stub.Embed(inference_pb2.EmbedRequest(model="m", texts=["a", "bcd"]))
        assert [list(e.values) for e in answer.embeddings] == [[1.0], [3.0]]
        assert answer.prompt_tokens == 2
        tokens = await served.stub.Tokenize(inference_pb2.TokenizeRequest(model="m", text="A"))
        assert list(tokens.token_ids) == [65]


Call = Callable[[Any], Any]
BAD_SCHEMA = inference_pb2.Limits(json_schema='{"type": nonsense}')
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
        (lambda s: text_of(s.Chat(chat("refuser", "x"))), "INVALID_ARGUMENT", "InvalidRequest",
         "refused this conversation: no texts"),
        (lambda s: text_of(s.Chat(chat("m", "x", template="{% if %}"))), "INVALID_ARGUMENT", "InvalidRequest",
         "syntax error in line 1"),
        (lambda s: text_of(s.Chat(inference_pb2.ChatRequest(model="m"))),
         "INVALID_ARGUMENT", "InvalidRequest", "no message"),
        (lambda s: text_of(s.Chat(chat("vectors", "x"))), "INVALID_ARGUMENT", "InvalidRequest",
         '"vectors" does not support chat'),
        (lambda s: text_of(s.Chat(chat("m", "x", think=True))), "INVALID_ARGUMENT", "InvalidRequest",
         '"m" does not support thinking'),
        (lambda s: text_of(s.Chat(chat("m", "x", think_level="high"))), "INVALID_ARGUMENT", "InvalidRequest",
         '"m" does not support thinking'),
        (lambda s: text_of(s.Chat(chat("thinker", "x", think_level="huge"))), "INVALID_ARGUMENT", "InvalidRequest",
         "give one of low, medium, high, max"),
        (lambda s: text_of(s.Chat(chat("thinker", "x", tools_json='[{"name": "f"}]'))), "INVALID_ARGUMENT",
         "InvalidRequest", '"thinker" does not support tools'),
        (lambda s: text_of(s.Chat(chat("m", "x", tools_json='[{"type": "function"}]'))), "INVALID_ARGUMENT",
         "InvalidRequest", "tool 1 is"),
        (lambda s: text_of(s.Chat(chat("m", "x", tool_choice="required"))), "INVALID_ARGUMENT", "InvalidRequest",
         "offers no tools"),
        (lambda s: text_of(s.Chat(chat("m", "x", limits=BAD_SCHEMA))), "INVALID_ARGUMENT", "InvalidRequest",
         "not valid JSON"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="m", prompt="x", limits=BAD_SCHEMA))),
         "INVALID_ARGUMENT", "InvalidRequest", "not valid JSON"),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="m", prompt="x", suffix="y"))),
         "INVALID_ARGUMENT", "InvalidRequest", '"m" does not support insert'),
        (lambda s: text_of(s.Generate(inference_pb2.GenerateRequest(model="vectors", prompt="x"))),
         "INVALID_ARGUMENT", "InvalidRequest", '"vectors" does not support generate'),
        (lambda s: s.Embed(inference_pb2.EmbedRequest(model="m")),
         "INVALID_ARGUMENT", "InvalidRequest", f"give 1 to {MAX_TEXTS}"),
        (lambda s: s.Tokenize(inference_pb2.TokenizeRequest(model="bug", text="x")),
         "INTERNAL", "Internal", "internal error in hypurad"),
    ],
)  # fmt: skip
async def test_errors_leave_as_statuses(call: Call, code: str, name: str, words: str) -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(served.stub)
    assert caught.value.code().name == code
    trailers: Any = caught.value.trailing_metadata()
    assert dict(trailers)[METADATA_KEY] == name
    details = caught.value.details() or ""
    assert words in details and "secret" not in details


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


async def test_vectors_that_are_too_many_are_refused_before_any_is_computed() -> None:
    """A bug once: 4,096 texts of 4,096 dimensions failed after all were computed, with a status of gRPC's own."""
    async with serving() as served:
        texts = ["wide"] * 3
        with pytest.raises(errors.InvalidRequest, match=r"3 vectors of 16384 dimensions .* at most 2 texts"):
            await served.inference.embed(inference_pb2.EmbedRequest(model="m", texts=texts), 2 * 4 * 16_384)
        cut = inference_pb2.EmbedRequest(model="m", texts=texts, dimensions=10_000)
        assert len((await served.inference.embed(cut, 2 * 4 * 16_384)).embeddings) == 3
        many = inference_pb2.EmbedRequest(model="m", texts=["wide"] * 1100)
        with pytest.raises(grpc.aio.AioRpcError, match="at most 1022 texts") as refused:
            await served.stub.Embed(many)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len((await served.inference.embed(many)).embeddings) == 1100


@given(st.text(min_size=1000, max_size=5000))
def test_messages_fit_their_headers(text: str) -> None:
    _, message, name = status_of(errors.WorkerDied(text * 3))
    assert len(message.encode()) <= MAX_STATUS_BYTES
    assert name == "WorkerDied"


@pytest.mark.parametrize("asks", [False, True])
async def test_loading_asks_for_the_context_that_answers_will_want(asks: bool) -> None:
    """A model that was loaded with less than its Modelfile's num_ctx was loaded anew by the first question."""
    async with serving() as served:
        if asks:
            await served.inference.embed(inference_pb2.EmbedRequest(model="wide", texts=["x"]))
        else:
            await served.inference.hold("wide", inference_pb2.ModelUse())
        assert [request.least_context_tokens for request in served.planned] == [3000]


async def test_a_client_that_does_not_read_loses_its_call_and_its_lease() -> None:
    async with serving(client_stall_seconds=0.3) as served:
        limits = inference_pb2.Limits(max_tokens=10_000_000)
        call = served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="flood", limits=limits))
        assert (await call.read()).HasField("prefill")
        [snapshot] = served.supervisor.status()
        assert snapshot.running_requests == 1
        while served.supervisor.status()[0].running_requests:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        async for _ in served.stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="a b")):
            pass
        call.cancel()
