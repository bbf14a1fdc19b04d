"""The text of messages, which OpenAI's requests give as a string or in parts."""

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

_TEXTS = ("text", "input_text", "output_text", "refusal", "reasoning_text", "summary_text")


class Part(Asked):
    """A part of a message; only text is taken."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None


Content = str | list[str | Part] | None


def text_of(content: Content, where: str) -> str:
    """The text, parts on lines of their own. Raises InvalidRequest for images, sound and files."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part if isinstance(part, str) else _text_of(part, where) for part in content)


def _text_of(part: Part, where: str) -> str:
    if part.type not in _TEXTS:
        what = "an image" if "image" in part.type else f"a part of type {part.type[:40]!r}"
        raise InvalidRequest(f"{where} has {what}; hypura takes text alone, images are not supported")
    text = part.refusal if part.type == "refusal" else part.text
    if text is None:
        raise InvalidRequest(f"{where} has a part of type {part.type} without its text")
    return text
