"""Errors as Ollama's clients read them."""

import json

from pydantic import BaseModel

from hypura_daemon.gateway.errors import message_of


class ErrorMessage(BaseModel):
    """A whole body, and the last line of a stream that breaks off."""

    error: str


def error_body(message: str) -> bytes:
    """The JSON of an error."""
    return json.dumps({"error": message}, separators=(",", ":")).encode()


def error_line(error: Exception) -> bytes:
    """The last line of a stream that breaks off; Ollama's clients raise it."""
    return error_body(message_of(error)) + b"\n"
