"""Greedy answers through a running hypura daemon, thinking, tools and JSON schemas included."""

from collections.abc import Sequence

from hypura.v1 import inference_pb2
from hypura_client.sync import Client
from tests.demo_model.answering import Answerer, parsed
from tests.demo_model.conversation import Answer, Conversation, Message, compact_json

_MAX_NEW_TOKENS = 260


def _message(message: Message) -> inference_pb2.ChatMessage:
    calls = [{"function": {"name": call.name, "arguments": dict(call.arguments)}} for call in message.tool_calls]
    return inference_pb2.ChatMessage(
        role=message.role,
        content=message.content,
        tool_calls_json=compact_json(calls) if calls else "",
        tool_name=message.tool_name,
    )


def hypura_answerer(client: Client, model: str, *, with_schema: bool = False) -> Answerer:
    """Answers by a model that the daemon knows. with_schema: JSON questions are asked under their schema.

    What the daemon streams is the model's own text; thinking and tool calls are parsed here.
    """

    def answer(item: Conversation) -> Answer:
        limits = inference_pb2.Limits(max_tokens=_MAX_NEW_TOKENS)
        if with_schema and item.schema is not None:
            limits.json_schema = compact_json(item.schema)
        stream = client.chat(
            model,
            [_message(message) for message in item.asked],
            sampling=inference_pb2.Sampling(temperature=0.0),
            limits=limits,
            think=item.think,
            tools_json=compact_json(list(item.tools)) if item.tools else "",
        )
        with stream as events:
            return parsed("".join(event.chunk.text for event in events))

    def answer_all(conversations: Sequence[Conversation]) -> list[Answer]:
        return [answer(item) for item in conversations]

    return answer_all
