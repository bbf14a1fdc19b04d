"""What the daemon asks the operating system, and the one place that chooses between Linux and macOS."""

import sys
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Protocol

from hypura_daemon.errors import SettingsError


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


class Platform(Protocol):
    """What the daemon asks of the operating system. All calls are short but blocking."""

    def cpu_name(self) -> str:
        """The processor's name."""

    def physical_cores(self) -> int:
        """Cores of the machine, hyper-threads counted once."""

    def usable_cores(self) -> int:
        """Logical cores that this process may use, container limits honoured; macOS: the fast ones."""

    def memory(self) -> Memory:
        """The machine's memory now."""

    def pressure(self) -> Pressure:
        """How short of memory the system finds itself; CALM where it does not tell."""

    def unwritten_bytes(self) -> int:
        """What the page cache still has to write to drives; 0 where the system does not tell."""

    def page_bytes(self) -> int:
        """The page size."""

    def boot_id(self) -> str:
        """Another one after each start of the machine."""

    def rss_bytes(self, pid: int) -> int:
        """A process's resident memory. Raises ProcessLookupError when there is no such process."""

    def peak_rss_bytes(self, pid: int) -> int | None:
        """The most it ever was; None where the system does not tell. Raises ProcessLookupError."""

    def oom_kills(self) -> int:
        """How often the system has killed for lack of memory where this process runs; 0 where it does not tell."""

    def await_exit(self, pid: int) -> None:
        """Wait until this child has ended, and leave it to be collected; at once for one that has."""

    def most_descriptors(self) -> int:
        """How many a process may have at most, whatever its own limits say."""

    def mount_of(self, path: Path) -> Mount:
        """Where an existing path's bytes are."""

    def direct_alignment(self, path: Path) -> Alignment | None:
        """What direct reads of the file need; None when its file system has no direct reads."""

    def open_direct(self, path: Path) -> int:
        """A descriptor whose reads bypass the page cache. Raises OSError where that cannot be."""


@cache
def current() -> Platform:
    """The platform of this process. Raises SettingsError on any other than Linux and macOS."""
    if sys.platform == "darwin":
        from hypura_daemon.hardware.macos import MacOS

        return MacOS()
    if sys.platform.startswith("linux"):
        from hypura_daemon.hardware.linux import Linux

        return Linux()
    raise SettingsError(f"hypura runs on Linux and macOS, not on {sys.platform}")
