"""The text of messages, which OpenAI's requests give as a string or in parts."""

import structlog

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

_MEDIA = ("image", "audio", "video", "file")
"""What these parts say cannot be left out without a wrong answer."""

_log = structlog.get_logger()


class Part(Asked):
    """A part of a message; only text is taken."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None


Content = str | list[str | Part] | Part | None


def text_of(content: Content, where: str) -> str:
    """The text, parts on lines of their own; parts without text are left out. Raises InvalidRequest for images, sound
    and files.
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else _text_of(part, where) for part in parts)
    return "\n".join(text for text in texts if text is not None)


def _text_of(part: Part, where: str) -> str | None:
    if any(kind in part.type for kind in _MEDIA):
        what = "an image" if "image" in part.type else f"a part of type {part.type[:40]!r}"
        raise InvalidRequest(f"{where} has {what}; hypura takes text alone, images are not supported")
    text = part.refusal if part.text is None else part.text
    if text is None:
        _log.warning("a part of a message has no text and is left out", where=where, type=part.type[:40])
    return text
