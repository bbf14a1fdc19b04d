"""Conversations: Anthropic's messages, made of blocks, and the core's, where tool results are messages of their own."""

from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from hypura_daemon.chat.request import ChatMessage
from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.requests import called
from hypura_daemon.gateway.shapes import RequestShape

_ROLES = {"assistant": "assistant", "system": "system", "developer": "system"}
"""Any other role becomes user."""

_log = structlog.get_logger()


class Block(RequestShape):
    """A block of any type. source: a document's content, or where a search result was found."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | str | None = None
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: "str | list[Block] | dict[str, Any] | None" = None
    source: dict[str, Any] | str | None = None
    title: str | None = None
    url: str | None = None


Content = str | list[Block]


def text_of(content: str | list[Block] | dict[str, Any] | None, where: str) -> str:
    """The text, blocks on lines of their own. Raises InvalidRequest for images."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = (block_text(block, f"{where}.content[{number}]") for number, block in enumerate(content))
    return "\n".join(text for text in texts if text is not None)


def block_text(block: Block, where: str) -> str | None:
    """The text of a block; None for one without text for a model. Raises InvalidRequest for images."""
    match block.type:
        case "text":
            return block.text or ""
        case "image":
            raise InvalidRequest(f"{where} is of type image; hypura takes text only, images are not supported")
        case "document":
            return _document(block, where)
        case "search_result" | "web_search_result":
            place = block.source if isinstance(block.source, str) else block.url
            return "\n".join(text for text in (block.title, place, text_of(block.content, where)) if text)
        case "tool_reference":
            return block.tool_name
        case "redacted_thinking" | "server_tool_use" | "mcp_tool_use":
            return None
    text = block.text or text_of(block.content, where)
    if not text:
        _log.warning("a block has no text and is left out", where=where, type=block.type[:40])
    return text or None


def _document(block: Block, where: str) -> str:
    """A document's text, or a note that it cannot be read: the model must not answer as if it had read it."""
    source = block.source if isinstance(block.source, dict) else {}
    data, content = source.get("data"), source.get("content")
    if source.get("type") == "text" and isinstance(data, str):
        text = data
    elif isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = text_of([Block.model_validate(item) for item in content if isinstance(item, dict)], where)
    else:
        _log.warning("a document is not text and is left out", where=where, source=str(source.get("type"))[:40])
        text = "[a document that cannot be read here, since it is not text]"
    return "\n".join(part for part in (block.title, text) if part)


class Message(RequestShape):
    """A message of the user or of the assistant."""

    role: str
    content: Content


def chat_messages(system: Content | None, messages: list[Message]) -> list[ChatMessage]:
    """The core's messages of a conversation. Raises InvalidRequest."""
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    turns = _Turns()
    if text := _system_text(system):
        turns.say("system", text)
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
    """The messages so far, and the names of the tools called in them."""

    done: list[ChatMessage] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    _more: list[str] = field(default_factory=list)

    def say(self, role: str, text: str) -> None:
        """Add text. User messages in a row become one: some templates want the roles to alternate."""
        last = self.done[-1] if self.done else None
        if last is not None and last.role == role != "assistant":
            self._more.append(text)
        else:
            self.join()
            self.done.append(ChatMessage(role=role, content=text))

    def join(self) -> None:
        """Join further texts to the last message: once, since a copy for each would take quadratic time."""
        if self._more:
            self.done[-1] = replace(self.done[-1], content="\n".join([self.done[-1].content, *self._more]))
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
            if thinking or calls:
                self.done[-1] = replace(self.done[-1], thinking="\n".join(thinking), tool_calls=calls)

    def _result(self, block: Block, place: str) -> None:
        if not block.tool_use_id:
            raise InvalidRequest(f"{place} is a tool_result without tool_use_id; name the call that it answers")
        self.join()
        self.done.append(
            ChatMessage(
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
        return called(block.id, block.name, block.input or {})
