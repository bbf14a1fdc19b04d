"""What a platform tells of the machine: plain figures, the same on every platform."""

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory; limit is the smaller of what is installed and the container's limit.

    available: what could be taken now without swapping, within the limit.
    """

    total_bytes: int
    container_limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a path's bytes are; device and filesystem are empty where they are not known."""

    point: str
    device: str
    filesystem: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a direct read's file offset and memory address must be multiples of."""

    offset_bytes: int
    memory_bytes: int


class Pressure(IntEnum):
    """How short of memory the system finds itself."""

    CALM = 0
    TIGHT = 1
    CRITICAL = 2
