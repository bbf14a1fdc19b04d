"""Several answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.errors import WorkerDied
from hypura_daemon.gateway.answer import AT_ONCE, Answer, gathered, merged
from tests.daemon.gateway.events import calls, ends, says, source, thinks


def test_an_answer_keeps_its_events() -> None:
    answer = Answer()
    for event in (thinks("hm"), says("a", logprob=-1.0), says("b", logprob=-2.0), calls(1, "f", {}), ends(5, 4)):
        answer.add(event)
    assert (answer.thinking, answer.text, answer.thinking_tokens) == ("hm", "ab", 2)
    assert len(answer.logprobs) == 2 and [call.name for call in answer.calls] == ["f"]
    assert (answer.prompt_tokens, answer.output_tokens, answer.cut_short) == (5, 4, False)


def test_markup_has_no_logprobs_in_the_content() -> None:
    """Clients count content tokens by their logprobs."""
    answer = Answer()
    for event in (says("a", logprob=-1.0), says("", logprob=-2.0), calls(1, "f", {}), ends()):
        answer.add(event)
    assert len(answer.logprobs) == 1


def test_one_call_drops_the_others() -> None:
    """Clients that forbid parallel calls run the first and have nowhere to put a second."""
    answer = Answer(one_call=True)
    for event in (calls(1, "f", {}), calls(2, "g", {})):
        answer.add(event)
    assert [call.name for call in answer.calls] == ["f"]


async def test_many_answers_run_a_few_at_a_time() -> None:
    running, most = 0, 0

    async def answer(number: int) -> AsyncGenerator[pb.ChatResponse, None]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
            yield says(str(number))
        running -= 1

    answers = await gathered([lambda number=number: answer(number) for number in range(20)])  # type: ignore[misc]
    assert [answer.text for answer in answers] == [str(number) * 3 for number in range(20)]
    assert most == AT_ONCE


async def test_a_failing_answer_ends_the_others() -> None:
    """The others would go on generating without a reader."""
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[pb.ChatResponse, None]:
        try:
            while True:
                await asyncio.sleep(0)
                yield says("x")
        finally:
            closed.set()

    with pytest.raises(WorkerDied):
        await gathered([endless, source([says("y"), WorkerDied("dead")])])
    assert closed.is_set()


@pytest.mark.parametrize("count", [1, 3])
async def test_closing_closes_every_answer(count: int) -> None:
    closed = 0

    async def endless() -> AsyncGenerator[pb.ChatResponse, None]:
        nonlocal closed
        try:
            yield says("x")
            await asyncio.Event().wait()
        finally:
            closed += 1

    events = merged([endless] * count)
    await anext(events)
    await events.aclose()
    # Of several, those whose first event nobody waited for have begun too.
    assert closed == count


async def test_a_cancelled_request_closes_every_answer() -> None:
    closed, started = 0, asyncio.Event()

    async def stuck() -> AsyncGenerator[pb.ChatResponse, None]:
        nonlocal closed
        try:
            started.set()
            await asyncio.Event().wait()
            yield says("x")
        finally:
            closed += 1

    task = asyncio.ensure_future(gathered([stuck, stuck]))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == 2


async def test_an_answer_that_ends_early_is_no_error() -> None:
    first, second = await gathered([source([ends()]), source([says("a"), ends()])])
    assert (first.text, second.text) == ("", "a")
