"""The blocks that Anthropic's messages are made of, and their text."""

from typing import Any

import structlog

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

_log = structlog.get_logger()


class Block(Asked):
    """A block of any type. `source` is where a document's content is, or where a search result was found."""

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
    """The text of a block; None for one that says nothing a model here could read. Raises InvalidRequest for images."""
    match block.type:
        case "text":
            return block.text or ""
        case "image":
            raise InvalidRequest(f"{where} is of type image; hypura takes text alone, images are not supported")
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
    """A document's text. Of one that is none, that it is there: the model must not answer as if it had read it."""
    source = block.source if isinstance(block.source, dict) else {}
    data, content = source.get("data"), source.get("content")
    if source.get("type") == "text" and isinstance(data, str):
        text = data
    elif isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = text_of([Block.model_validate(item) for item in content if isinstance(item, dict)], where)
    else:
        _log.warning("a document is no text and is left out", where=where, source=str(source.get("type"))[:40])
        text = "[a document that cannot be read here, since it is no text]"
    return "\n".join(part for part in (block.title, text) if part)
