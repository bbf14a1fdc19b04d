"""An error in the middle of a native stream: its last line."""

import json

from hypura_daemon.gateway.errors import message_of


def error_line(error: Exception) -> bytes:
    """One object with `error`, which Ollama's clients raise."""
    return json.dumps({"error": message_of(error)}).encode() + b"\n"
