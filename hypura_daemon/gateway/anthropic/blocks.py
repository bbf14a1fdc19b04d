"""The blocks that Anthropic's messages are made of, and their text."""

from typing import Any

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked


class Source(Asked):
    """Where a document's content is; only text given in place is taken."""

    type: str
    data: str | None = None


class Block(Asked):
    """A block of any type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None
    source: Source | None = None
    title: str | None = None


Content = str | list[Block]


def text_of(content: Content | None, where: str) -> str:
    """The text, blocks on lines of their own. Raises InvalidRequest for images and files."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block_text(block, f"{where}.content[{number}]") for number, block in enumerate(content))


def block_text(block: Block, where: str) -> str:
    """The text of a block that is text. Raises InvalidRequest."""
    if block.type == "text" and block.text is not None:
        return block.text
    if block.type == "document" and block.source and block.source.type == "text":
        return "\n".join(text for text in (block.title, block.source.data) if text)
    if block.type in ("image", "document"):
        raise InvalidRequest(f"{where} is of type {block.type}; hypura takes text alone, images are not supported")
    raise InvalidRequest(f"{where} is of type {block.type[:40]!r}, which is not supported here, or lacks its content")
