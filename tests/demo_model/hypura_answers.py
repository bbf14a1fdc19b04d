"""Greedy answers through a running hypura daemon, thinking, tools and JSON schemas included."""

import json
from collections.abc import Sequence
from dataclasses import replace

from hypura.v1 import inference_pb2
from hypura_client.sync import Client
from tests.demo_model.answering import Answerer, parsed
from tests.demo_model.conversation import Answer, Conversation, Message, ToolCall, compact_json

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

    Thinking and tool calls are taken as the daemon tells them, and out of the text where it leaves them there.
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
        texts, thoughts, calls = [], [], []
        with stream as events:
            for event in events:
                texts.append(event.chunk.text)
                thoughts.append(event.chunk.thinking)
                if event.HasField("tool_call"):
                    calls.append(ToolCall(event.tool_call.name, json.loads(event.tool_call.arguments_json)))
        told = parsed("".join(texts))
        return replace(told, tool_calls=(*told.tool_calls, *calls), thinking=told.thinking or "".join(thoughts).strip())

    def answer_all(conversations: Sequence[Conversation]) -> list[Answer]:
        return [answer(item) for item in conversations]

    return answer_all
