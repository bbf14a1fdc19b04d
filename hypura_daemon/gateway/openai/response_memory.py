"""Responses that later ones may follow, by previous_response_id; kept in memory alone, the oldest go first."""

from collections import OrderedDict
from dataclasses import dataclass

from hypura.v1 import inference_pb2

MAX_RESPONSES = 1000
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Remembered:
    """The conversation without its instructions, the answer included, and the response's JSON."""

    messages: tuple[inference_pb2.ChatMessage, ...]
    body: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes, near enough."""
        return len(self.body) + sum(message.ByteSize() for message in self.messages)


class ResponseMemory:
    """At most MAX_RESPONSES responses of MAX_BYTES in all."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._size_bytes = 0

    def keep(self, response_id: str, remembered: Remembered) -> None:
        """Remember a response, and forget as many of the oldest as that takes."""
        self._kept[response_id] = remembered
        self._size_bytes += remembered.size_bytes
        while self._kept and (len(self._kept) > self._max_responses or self._size_bytes > self._max_bytes):
            self.forget(next(iter(self._kept)))

    def get(self, response_id: str) -> Remembered | None:
        """The response, if it is remembered; it is then the youngest."""
        if response_id in self._kept:
            self._kept.move_to_end(response_id)
        return self._kept.get(response_id)

    def forget(self, response_id: str) -> bool:
        """Whether it was remembered."""
        remembered = self._kept.pop(response_id, None)
        self._size_bytes -= remembered.size_bytes if remembered else 0
        return remembered is not None
