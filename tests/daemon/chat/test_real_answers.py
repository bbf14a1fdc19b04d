"""Chats through a real worker with random weights: what grammars enforce, and what is reported for each token."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura_daemon.chat.request import ChatMessage, ChatRequest
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.hardware.store import HardwareStore
from hypura_daemon.inference import Inference
from hypura_daemon.models.overrides import Overrides
from hypura_daemon.models.registry import Registry
from hypura_daemon.planning.load_planner import LoadPlanner
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.workers.process import WorkerDeadlines, WorkerProcess
from tests.hardware import measure_nothing
from tests.models.writer import write_synthetic_model

BODY = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
HERMES = BODY + "{# tools <tool_call> enable_thinking #}{% if enable_thinking %}<think>\n{% endif %}"
MISTRAL = BODY + "{# tools [TOOL_CALLS] #}"
GO = "{{ if .System }}S:{{ .System }} {{ end }}{{ range .Messages }}{{ .Role }}:{{ .Content }} {{ end }}"
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "enum": ["Bonn", "Köln"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"]}},
}  # fmt: skip
GREEDY = inference_pb2.Sampling(temperature=0)


@dataclass(frozen=True)
class Served:
    inference: Inference
    supervisor: Supervisor

    async def chat(
        self, model: str = "plain", content: str = "hello", **fields: Any
    ) -> list[inference_pb2.ChatResponse]:
        return [event async for event in self.inference.chat(asked(model, content, **fields))]

    async def active(self) -> int:
        [snapshot] = self.supervisor.status()
        assert snapshot.worker is not None
        return (await snapshot.worker.statistics()).active_requests


def asked(model: str = "plain", content: str = "hello", **fields: Any) -> ChatRequest:
    fields = {"sampling": GREEDY, "limits": inference_pb2.Limits(max_tokens=24)} | fields
    return ChatRequest(model=model, messages=[ChatMessage(role="user", content=content)], **fields)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hyp") as folder:
        file = Path(folder) / "tiny.gguf"
        write_synthetic_model("tiny-dense", file)
        registry = Registry(Path(folder))
        overrides = {
            "plain": Overrides(),
            "hermes": Overrides(template=HERMES, template_style="jinja"),
            "mistral": Overrides(template=MISTRAL, template_style="jinja"),
            "go": Overrides(template=GO, template_style="go", system="be kind",
                            parameters=(("num_predict", "3"), ("stop", "zzz"), ("num_ctx", "1024"))),
        }  # fmt: skip
        for name, over in overrides.items():
            registry.put(name, file, over)
        yield Path(folder)


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Served]:
    await asyncio.to_thread(measure_nothing, home)
    registry = Registry(home)
    planner = LoadPlanner(registry, HardwareStore(home), context_tokens=512, sequences=1)

    def make_worker(name: str) -> WorkerProcess:
        return WorkerProcess(name, home, WorkerDeadlines(60, 60, 60, 5))

    supervisor = Supervisor(planner, make_worker, memory_budget_bytes=2_000_000_000, reload_wait_seconds=5)
    async with asyncio.timeout(150), asyncio.TaskGroup() as tasks:
        tasks.create_task(supervisor.run())
        try:
            yield Served(Inference(supervisor, registry, context_tokens=512), supervisor)
        finally:
            supervisor.end()


def calls_of(events: list[inference_pb2.ChatResponse]) -> list[tuple[str, Any]]:
    calls = [event.tool_call for event in events if event.HasField("tool_call")]
    return [(call.name, json.loads(call.arguments_json)) for call in calls]


def text_of(events: list[inference_pb2.ChatResponse]) -> str:
    return "".join(event.chunk.text for event in events)


def token_ids_of(events: list[inference_pb2.ChatResponse]) -> list[int]:
    return [token for event in events for token in event.chunk.token_ids]


async def test_required_tools_are_called_whatever_the_weights(home: Path) -> None:
    """Random weights never call a tool by themselves."""
    async with serving(home) as served:
        for model in ("hermes", "mistral"):
            events = await served.chat(
                model, tools=[WEATHER], tool_choice="weather", sampling=inference_pb2.Sampling(seed=7),
                limits=inference_pb2.Limits(max_tokens=150, top_logprobs=0),
            )  # fmt: skip
            [(name, arguments)] = calls_of(events)
            assert name == "weather"
            jsonschema.validate(arguments, WEATHER["function"]["parameters"])  # type: ignore[index]
            assert text_of(events) == ""
            [end] = [event.finished for event in events if event.HasField("finished")]
            assert end.reason == inference_pb2.FINISH_REASON_STOP
            assert len(token_ids_of(events)) == end.statistics.output_tokens
            assert sum(len(event.chunk.logprobs) for event in events) == end.statistics.output_tokens


async def test_a_schema_binds_after_the_thinking(home: Path) -> None:
    schema = '{"type": "object", "properties": {"x": {"type": "integer", "maximum": 9}}, "required": ["x"]}'
    async with serving(home) as served:
        request = asked("hermes", think=False, limits=inference_pb2.Limits(max_tokens=200, json_schema=schema))
        events = [event async for event in served.inference.chat(request)]
        jsonschema.validate(json.loads(text_of(events)), json.loads(schema))
        limits = inference_pb2.Limits(max_tokens=30, json_schema=schema)  # Random weights do not end their thinking.
        request = replace(request, think=True, limits=limits)
        events = [event async for event in served.inference.chat(request)]
        assert text_of(events) == "" and "".join(event.chunk.thinking for event in events)
        assert token_ids_of(events) and len(token_ids_of(events)) == events[-1].finished.statistics.output_tokens


async def test_a_closed_answer_ends_in_the_worker(home: Path) -> None:
    """A client that disconnects must not keep the machine busy."""
    async with serving(home) as served:
        request = asked(limits=inference_pb2.Limits(max_tokens=400, ignore_eos=True))
        async with aclosing(served.inference.chat(request)) as events:
            async for event in events:
                if event.HasField("chunk"):
                    assert await served.active() == 1
                    break
        before = (await served.supervisor.status()[0].worker.statistics()).output_tokens  # type: ignore[union-attr]
        while await served.active():
            pass  # Each call waits for the worker.
        after = (await served.supervisor.status()[0].worker.statistics()).output_tokens  # type: ignore[union-attr]
        assert after - before <= 1
        # Also while the prompt is still being read.
        async with aclosing(served.inference.chat(asked(content="word " * 100))) as events:
            assert (await anext(events)).HasField("prefill")
        while await served.active():
            pass


async def test_context_continues_where_an_answer_ended(home: Path) -> None:
    async with serving(home) as served:
        first = await served.chat("go", report_prompt_ids=True)
        prompt_ids = list(first[-1].finished.prompt_ids)
        assert len(prompt_ids) == first[-1].finished.statistics.prompt_tokens
        context = [*prompt_ids, *token_ids_of(first)]
        second = await served.chat("go", "more", report_prompt_ids=True, context=context)
        told = list(second[-1].finished.prompt_ids)
        assert told[: len(context)] == context
        added = await served.inference.tokenize(inference_pb2.TokenizeRequest(model="go", text="user:more "))
        assert told[len(context) :] == list(added.token_ids), "the system message is in the context already"


async def test_a_modelfile_sets_defaults(home: Path) -> None:
    async with serving(home) as served:
        events = await served.chat("go", limits=inference_pb2.Limits(ignore_eos=True), report_prompt_ids=True)
        assert events[-1].finished.statistics.output_tokens == 3
        told = await served.inference.tokenize(
            inference_pb2.TokenizeRequest(model="go", text="S:be kind system:be kind user:hello ", add_special=True)
        )
        assert list(events[-1].finished.prompt_ids) == list(told.token_ids)
        assert served.supervisor.status()[0].loaded.context_tokens >= 1024  # type: ignore[union-attr]
        assert await served.inference.count_chat_tokens(asked("go")) == len(told.token_ids)


async def test_a_long_conversation_loses_its_oldest_messages_but_not_the_systems(home: Path) -> None:
    async with serving(home) as served:
        turns = [ChatMessage(role="system", content="SYSTEM")]
        for number in range(40):
            turns += [
                ChatMessage(role="user", content=f"question {number} " + "words " * 10),
                ChatMessage(role="assistant", content=f"answer {number}"),
            ]
        turns.append(ChatMessage(role="user", content="LAST"))
        limits = inference_pb2.Limits(max_tokens=8, truncate=True)
        request = ChatRequest(
            model="plain",
            messages=turns,
            sampling=GREEDY,
            limits=limits,
            report_prompt_ids=True,
            use=inference_pb2.ModelUse(context_tokens=512),
        )
        events = [event async for event in served.inference.chat(request)]
        size = served.supervisor.status()[0].loaded.context_tokens  # type: ignore[union-attr]
        ids = list(events[-1].finished.prompt_ids)
        assert size // 2 <= len(ids) < size

        async def ids_of(text: str) -> list[int]:
            answer = await served.inference.tokenize(inference_pb2.TokenizeRequest(model="plain", text=text))
            return list(answer.token_ids)

        begin = await ids_of("<|im_start|>system\nSYSTEM<|im_end|>\n<|im_start|>user\nquestion ")
        assert ids[: len(begin)] == begin
        request.limits.truncate = False
        with pytest.raises(InvalidRequest, match="shorten it"):
            _ = [event async for event in served.inference.chat(request)]


async def test_stop_strings_are_named(home: Path) -> None:
    async with serving(home) as served:
        text = text_of(await served.chat(limits=inference_pb2.Limits(max_tokens=12, ignore_eos=True)))
        stop = text[2:5]
        limits = inference_pb2.Limits(max_tokens=12, ignore_eos=True, stop=["never to be seen", stop])
        events = await served.chat(limits=limits)
        assert events[-1].finished.stop_string == stop
        assert text_of(events) == text[: text.index(stop)]


async def test_control_tokens_are_seen_where_the_template_shows_them(home: Path) -> None:
    """gpt-oss's and Mistral's markers are control tokens, which have no text elsewhere."""
    async with serving(home) as served:
        [token] = (
            await served.inference.tokenize(inference_pb2.TokenizeRequest(model="plain", text="<|im_start|>"))
        ).token_ids
        bias = inference_pb2.Sampling(temperature=0, logit_bias={token: 1000})
        limits = inference_pb2.Limits(max_tokens=2)
        hidden = await served.chat(sampling=bias, limits=limits)
        assert (text_of(hidden), token_ids_of(hidden)) == ("", [token, token])
        worker = served.supervisor.status()[0].worker
        assert worker is not None
        request = worker_pb2.WorkerGenerateRequest(
            prompt="x", sampling=bias, limits=limits, visible_tokens=["[TOOL_CALLS]", "<|im_start|>"]
        )
        texts = [message.chunk.text async for message in worker.generate(request)]
        assert "".join(texts) == "<|im_start|>" * 2


async def test_embeddings_are_cut_before_they_are_normalised(home: Path) -> None:
    async with serving(home) as served:
        request = inference_pb2.EmbedRequest(model="plain", texts=["hello"])
        whole = list((await served.inference.embed(request)).embeddings[0].values)
        request.dimensions, request.normalize = 16, True
        cut = list((await served.inference.embed(request)).embeddings[0].values)
        length = sum(value * value for value in whole[:16]) ** 0.5
        assert cut == pytest.approx([value / length for value in whole[:16]], rel=1e-5)
