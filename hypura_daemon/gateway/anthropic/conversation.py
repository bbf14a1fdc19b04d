"""Anthropic's messages to hypura.v1's: results of tools become messages of their own."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypura.v1 import inference_pb2
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.anthropic.blocks import Block, Content, block_text, text_of
from hypura_daemon.gateway.shapes import Asked


class Message(Asked):
    """A turn of the user or of the assistant."""

    role: str
    content: Content


_ROLES = {"assistant": "assistant", "system": "system", "developer": "system"}
"""Any other speaks as the user."""


def chat_messages(system: Content | None, messages: list[Message]) -> list[inference_pb2.ChatMessage]:
    """The whole conversation. Raises InvalidRequest."""
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    turns = _Turns()
    if told := _system_text(system):
        turns.say("system", told)
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        content = [Block(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        turns.add(_ROLES.get(message.role, "user"), content, where)
    turns.join()
    return turns.done


def _system_text(system: Content | None) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    texts = (block_text(block, f"system[{number}]") for number, block in enumerate(system))
    return "\n\n".join(text for text in texts if text is not None)


@dataclass(slots=True)
class _Turns:
    """The messages until now, and the tools of the calls in them."""

    done: list[inference_pb2.ChatMessage] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    _more: list[str] = field(default_factory=list)

    def say(self, role: str, text: str) -> None:
        """Turns of the user that follow each other are one: some templates want the roles to alternate."""
        last = self.done[-1] if self.done else None
        if last is not None and last.role == role != "assistant":
            self._more.append(text)
        else:
            self.join()
            self.done.append(inference_pb2.ChatMessage(role=role, content=text))

    def join(self) -> None:
        """Put what was said further into the last message: once, since a copy for each piece would be quadratic."""
        if self._more:
            self.done[-1].content = "\n".join([self.done[-1].content, *self._more])
            self._more = []

    def add(self, role: str, blocks: list[Block], where: str) -> None:
        texts: list[str] = []
        thinking: list[str] = []
        calls: list[dict[str, Any]] = []
        for number, block in enumerate(blocks):
            place = f"{where}.content[{number}]"
            if block.type == "tool_result" and role == "user":
                if texts:
                    self.say(role, "\n".join(texts))
                    texts = []
                self._result(block, place)
            elif block.type == "tool_use" and role == "assistant":
                calls.append(self._call(block, place))
            elif block.type == "thinking" and role == "assistant":
                thinking.append(block.thinking or "")
            elif (text := block_text(block, place)) is not None:
                texts.append(text)
        if texts or thinking or calls or not blocks:
            self.say(role, "\n".join(texts))
            self.done[-1].thinking += "\n".join(thinking)
            self.done[-1].tool_calls_json += json.dumps(calls) if calls else ""

    def _result(self, block: Block, place: str) -> None:
        if not block.tool_use_id:
            raise InvalidRequest(f"{place} is a tool_result without tool_use_id; name the call that it answers")
        self.join()
        self.done.append(
            inference_pb2.ChatMessage(
                role="tool",
                content=text_of(block.content, place),
                tool_call_id=block.tool_use_id,
                tool_name=self.names.get(block.tool_use_id, ""),
            )
        )

    def _call(self, block: Block, place: str) -> dict[str, Any]:
        if not block.id or not block.name:
            raise InvalidRequest(f"{place} is a tool_use without id or name; give both")
        self.names[block.id] = block.name
        return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input or {}}}
