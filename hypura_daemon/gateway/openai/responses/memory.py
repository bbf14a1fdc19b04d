"""The responses that later ones can continue, by previous_response_id. They are kept in memory and not on disk."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from hypura_daemon.chat.request import ChatMessage, json_length

MAX_RESPONSES = 1000
MAX_BYTES = 64 << 20
_BYTES_PER_JSON_CHARACTER = 8
"""Tool calls are kept as objects, which take more memory than their JSON text."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages without their instructions; size_bytes: about how much memory they take."""

    messages: tuple[ChatMessage, ...] = ()
    size_bytes: int = 0

    def extended(self, messages: Sequence[ChatMessage]) -> "Conversation":
        """The conversation with further messages."""
        return Conversation((*self.messages, *messages), self.size_bytes + sum(map(_memory_bytes, messages)))


@dataclass(frozen=True, slots=True)
class Remembered:
    """A conversation up to its answer, and the response's JSON."""

    conversation: Conversation
    body: bytes

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.body) + self.conversation.size_bytes


class ResponseMemory:
    """The latest responses: at most MAX_RESPONSES, of MAX_BYTES together."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._size_bytes = 0

    def keep(self, response_id: str, remembered: Remembered) -> None:
        """Keep a response, and forget the oldest where there are too many."""
        self._kept[response_id] = remembered
        self._size_bytes += remembered.size_bytes
        while self._kept and (len(self._kept) > self._max_responses or self._size_bytes > self._max_bytes):
            self.forget(next(iter(self._kept)))

    def get(self, response_id: str) -> Remembered | None:
        """The response, if it is kept; it is then the newest."""
        if response_id in self._kept:
            self._kept.move_to_end(response_id)
        return self._kept.get(response_id)

    def forget(self, response_id: str) -> bool:
        """Forget a response; whether it was kept."""
        remembered = self._kept.pop(response_id, None)
        self._size_bytes -= remembered.size_bytes if remembered else 0
        return remembered is not None


def _memory_bytes(message: ChatMessage) -> int:
    call_characters, _ = json_length(message.tool_calls) if message.tool_calls else (0, 0)
    return message.text_bytes + _BYTES_PER_JSON_CHARACTER * call_characters
