"""The context that a request gets grows with its prompt, and is lowered to what can be had; it depends on nothing else.

A token is a byte here. Models whose names begin with "long" are trained for 131,072 tokens, memory holds 65,536, and
4,096 is what a load has that nobody asked more of.
"""

from typing import Any

import pytest

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.chat.request import ChatMessage, ChatRequest
from hypura_daemon.errors import PromptTooLong, ServerBusy
from hypura_daemon.scheduling.context import MOST_ANSWER_TOKENS, grown_context
from tests.daemon.test_inference import ROOM_TOKENS, Served, serving


def chat(size: int, model: str = "long", context: int = 0, **limits: Any) -> ChatRequest:
    message = ChatMessage(role="user", content="a" * (size - 1))  # The template adds a blank.
    use = pb.ModelUse(context_tokens=context)
    return ChatRequest(model=model, messages=[message], limits=pb.Limits(**limits), use=use)


async def answered(served: Served, request: Any) -> int:
    """The context of its worker."""
    ask = served.inference.chat if isinstance(request, ChatRequest) else served.inference.generate
    async for _ in ask(request):
        pass
    [loaded] = served.supervisor.status()
    assert loaded.plan is not None
    return loaded.plan.context_tokens


async def test_a_long_prompt_loads_a_larger_context() -> None:
    """Claude Code's first message has 29,849 tokens, Codex's 9,527, opencode's 11,204: all were refused at 4,096."""
    async with serving() as served:
        assert await answered(served, chat(1000)) == 4096
        assert await answered(served, chat(29_849)) == 32768
        assert await answered(served, chat(1000)) == 32768, "a larger one serves smaller requests"
        assert await answered(served, chat(11_204)) == 32768
        assert len(served.planned) == 2


async def test_a_large_first_request_loads_once() -> None:
    async with serving() as served:
        words = pb.GenerateRequest(model="long", prompt="a" * 40_000)
        assert await answered(served, words) == 49152
        assert [request.least_context_tokens for request in served.planned] == [grown_context(12_000, 131072), 49152]
        await served.supervisor.unload("long")
        served.planned.clear()
        ids = pb.GenerateRequest(model="long", prompt_ids=pb.TokenIds(ids=[300] * 20_000))
        assert await answered(served, ids) == 24576


async def test_a_conversation_that_grows_reloads_now_and_then() -> None:
    async with serving() as served:
        for size in range(2_000, 30_000, 700):
            await answered(served, chat(size))
        assert len(served.planned) <= 7


@pytest.mark.parametrize(
    ("size", "max_tokens", "context"),
    [
        (100, 4500, 6144),
        (100, 32_000, grown_context(100 + MOST_ANSWER_TOKENS, 131072)),
        (2500, -1, 6144),
        (2500, 100, 4096),
        (4000, 0, 4096),
    ],
)
async def test_the_answer_has_room(size: int, max_tokens: int, context: int) -> None:
    async with serving() as served:
        assert await answered(served, chat(size, max_tokens=max_tokens)) == context


@pytest.mark.parametrize("before", [0, 40_000])
@pytest.mark.parametrize(
    ("request_", "tokens", "context"),
    [
        (chat(70_000), 70_000, ROOM_TOKENS),
        (chat(140_000), 140_000, 131072),
        (chat(5000, "m"), 5000, 4096),
        (chat(5000, "long", context=4500), 5000, 4500),
        (chat(7000, "long-bound"), 7000, 6000),
        (pb.GenerateRequest(model="long", prompt="a" * 70_000), 70_000, ROOM_TOKENS),
        (pb.GenerateRequest(model="m", prompt_ids=pb.TokenIds(ids=[1] * 4096)), 4096, 4096),
    ],
)
async def test_what_does_not_fit_is_refused_with_both_numbers(
    request_: Any, tokens: int, context: int, before: int
) -> None:
    async with serving() as served:
        if before and request_.model == "long":
            await answered(served, chat(before))
        with pytest.raises(PromptTooLong) as caught:
            await answered(served, request_)
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (tokens, context)


async def test_a_prompt_of_one_token_less_than_memory_holds_is_answered() -> None:
    async with serving() as served:
        assert await answered(served, chat(ROOM_TOKENS - 1)) == ROOM_TOKENS
        planned = len(served.planned)
        assert await answered(served, chat(ROOM_TOKENS - 1)) == ROOM_TOKENS
        assert await answered(served, chat(ROOM_TOKENS - 9)) == ROOM_TOKENS
        assert len(served.planned) == planned, "that more cannot be had is known by now"


@pytest.mark.parametrize(
    ("model", "asked", "context"), [("m", 8300, 4096), ("long", 8300, 9216), ("long", 1 << 30, ROOM_TOKENS)]
)
async def test_a_context_that_cannot_be_had_is_lowered(model: str, asked: int, context: int) -> None:
    """aider requests 8300 tokens whatever the model was trained for."""
    async with serving() as served:
        assert await answered(served, chat(100, model, context=asked)) == context
        embedded = pb.EmbedRequest(model=model, texts=["a"], use=pb.ModelUse(context_tokens=asked))
        assert len((await served.inference.embed(embedded)).embeddings) == 1
        assert await answered(served, pb.GenerateRequest(model=model, prompt="a", use=embedded.use)) == context
        await served.inference.hold(model, embedded.use)


async def test_long_texts_are_embedded_whole() -> None:
    async with serving() as served:
        await served.inference.embed(pb.EmbedRequest(model="long", texts=["a", "b" * 9000]))
        [loaded] = served.supervisor.status()
        assert loaded.plan is not None and loaded.plan.context_tokens == 12288
        with pytest.raises(PromptTooLong, match="9000"):
            await served.inference.embed(pb.EmbedRequest(model="m", texts=["b" * 9000]))
        await served.inference.embed(pb.EmbedRequest(model="m", texts=["b" * 9000], truncate=True))


async def test_more_waits_for_running_answers() -> None:
    async with serving() as served:
        running = served.inference.chat(chat(100, "long"))
        asked = pb.GenerateRequest(model="long", prompt="forever")
        events = served.inference.generate(asked)
        await anext(events)
        with pytest.raises(ServerBusy, match="still answers 1 requests"):
            await answered(served, chat(29_849))
        await events.aclose()
        await running.aclose()
        assert await answered(served, chat(29_849)) == 32768
