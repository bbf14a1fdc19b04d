"""The memory of responses that later ones continue."""

from __future__ import annotations

from hypura.v1 import inference_pb2 as pb
from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.openai.responses.answers import answer_message
from hypura_daemon.gateway.openai.responses.memory import Conversation, Remembered, ResponseMemory

NONE = Conversation()


def test_the_memory_is_bounded() -> None:
    memory = ResponseMemory(max_responses=2, max_bytes=1000)
    one = NONE.extended([answer_message(Answer(text="x"))])
    for number in range(3):
        memory.keep(f"r{number}", Remembered(one, b"{}"))
    assert memory.get("r0") is None and memory.get("r1") and memory.get("r2")
    memory.get("r1")
    memory.keep("r3", Remembered(one, b"{}"))
    assert memory.get("r2") is None and memory.get("r1"), "the oldest by use goes first"
    memory.keep("big", Remembered(NONE, b"x" * 1001))
    assert memory.get("big") is None and memory.get("r3") is None
    memory.keep("small", Remembered(NONE, b"x" * 1000))
    assert memory.forget("small") and not memory.forget("small")


def test_a_conversation_counts_its_texts_and_its_calls_as_objects() -> None:
    call = pb.ToolCall(id="1", name="f", arguments_json="{}")
    plain, calling = answer_message(Answer(text="x" * 100)), answer_message(Answer(text="x" * 100, calls=[call]))
    assert NONE.extended([plain]).size_bytes == 100
    assert NONE.extended([plain]).extended([calling]).size_bytes > 200 + 3 * len(str(calling.tool_calls))
