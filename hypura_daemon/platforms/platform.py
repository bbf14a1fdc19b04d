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
    """The machine's memory. container_limit_bytes: the smaller of the installed memory and the container's limit.

    available_bytes: what could be used now without swapping, within that limit.
    """

    total_bytes: int
    container_limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a path's data is stored; device and filesystem are empty if unknown."""

    point: str
    device: str
    filesystem: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of a direct read's file offset and memory address."""

    offset_bytes: int
    memory_bytes: int


class Pressure(IntEnum):
    """How short of memory the system is, by its own account."""

    CALM = 0
    TIGHT = 1
    CRITICAL = 2


class Platform(Protocol):
    """The operating system. All calls are short but blocking."""

    def cpu_name(self) -> str:
        """The processor's name."""

    def physical_cores(self) -> int:
        """The machine's cores, with hyper-threads counted once."""

    def usable_cores(self) -> int:
        """The logical cores that this process may use, within container limits; macOS: only the fast cores."""

    def memory(self) -> Memory:
        """The machine's memory now."""

    def pressure(self) -> Pressure:
        """How short of memory the system is; CALM if it does not say."""

    def unwritten_bytes(self) -> int:
        """The bytes in the page cache that are not yet written to drives; 0 if the system does not say."""

    def page_bytes(self) -> int:
        """The page size."""

    def boot_id(self) -> str:
        """An id that changes with each start of the machine."""

    def rss_bytes(self, pid: int) -> int:
        """A process's resident memory. Raises ProcessLookupError if there is no such process."""

    def peak_rss_bytes(self, pid: int) -> int | None:
        """The peak of a process's resident memory; None if the system does not say. Raises ProcessLookupError."""

    def oom_kills(self) -> int:
        """How many processes were killed for lack of memory in this container or machine; 0 if unknown."""

    def await_exit(self, pid: int) -> None:
        """Wait until this child process has ended, without reaping it; returns at once if it has."""

    def most_descriptors(self) -> int:
        """The most descriptors that a process may have, whatever its own limits."""

    def mount_of(self, path: Path) -> Mount:
        """Where an existing path's data is stored."""

    def direct_alignment(self, path: Path) -> Alignment | None:
        """The alignment for direct reads of the file; None if its file system has no direct reads."""

    def open_direct(self, path: Path) -> int:
        """A descriptor whose reads bypass the page cache. Raises OSError if that is impossible."""


@cache
def current() -> Platform:
    """The platform of this process. Raises SettingsError on systems other than Linux and macOS."""
    if sys.platform == "darwin":
        from hypura_daemon.platforms.macos import MacOS

        return MacOS()
    if sys.platform.startswith("linux"):
        from hypura_daemon.platforms.linux import Linux

        return Linux()
    raise SettingsError(f"hypura runs on Linux and macOS, not on {sys.platform}")
