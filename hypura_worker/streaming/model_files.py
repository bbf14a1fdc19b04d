"""The model's files, opened for direct reads and watched for change."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hypura.v1 import placement_pb2
from hypura_worker.errors import ModelFileChanged

_TICK_NS = 10_000_000
"""The kernel stamps a file with the time of its last clock tick; the slowest clock ticks 100 times a second."""
_SECOND_NS = 1_000_000_000
_COARSE_NS = 2 * _SECOND_NS
"""File systems that keep whole seconds (FAT: every second one) have no finer stamps."""


class ModelFiles:
    """Open descriptors of a model's files, in the order of Plan.files.

        write in place, truncate        size, mtime or ctime differ     ModelFileChanged
        write in place, mtime reset     ctime differs                   ModelFileChanged
        delete, rename, rename over     ctime and the link differ       the descriptor keeps the old file
        chmod, chown, link              ctime and what it set differ    the content is the same

    The file system stamps a file before it changes the bytes, so a check after a pass shows whether the pass read what
    was planned. Two changes within one tick of the clock have one stamp: opening waits until the stamp
    of the last change is older than that. Stores through a writable shared mapping move no stamp until the page is
    written back, and are not noticed before.
    """

    def __init__(self, files: Sequence[placement_pb2.ModelFile], *, direct: bool) -> None:
        self.descriptors: list[int] = []
        self._files = list(files)
        self._known: list[_State] = []
        try:
            for file in self._files:
                self.descriptors.append(_open(file.path, direct=direct))
            for descriptor in self.descriptors:
                self._known.append(_after_last_change(descriptor))
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise ModelFileChanged unless every file is still the one that was planned."""
        for index, (file, descriptor) in enumerate(zip(self._files, self.descriptors, strict=True)):
            now, known = _State.of(descriptor), self._known[index]
            planned = (file.size_bytes, file.modified_nanoseconds, file.inode)
            if (now.size_bytes, now.modified_ns, now.inode) != planned:
                raise _changed(file, f"{file.size_bytes} bytes then, {now.size_bytes} now")
            if now.changed_ns == known.changed_ns:
                continue
            if now.link == known.link and _inode_at(file.path) == now.inode:
                raise _changed(file, "its size and time of modification are the same, but it was written to")
            self._known[index] = now  # its links, mode or owner changed, not its content

    def check_paths(self) -> None:
        """After a load: raise ModelFileChanged if llama.cpp, which opens by path, may have read another file."""
        self.check()
        for file in self._files:
            if _inode_at(file.path) != file.inode:
                raise _changed(file, "another file took its place while it was loaded")

    def drop_cached(self) -> None:
        """Drop from the page cache what was read through it, where the system supports this."""
        if hasattr(os, "posix_fadvise"):
            for descriptor in self.descriptors:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close all descriptors."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def __enter__(self) -> ModelFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _State:
    """A file as the system describes it. link: what else moves changed_ns (links, mode, owner)."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    link: tuple[int, ...]

    @classmethod
    def of(cls, descriptor: int) -> _State:
        """Of an open file."""
        status = os.fstat(descriptor)
        link = (status.st_nlink, status.st_mode, status.st_uid, status.st_gid)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, link)


def _after_last_change(descriptor: int) -> _State:
    """The state of the file, once every later change must have another stamp; waits 2 seconds at most.

    A stamp in the future (the clock was set back) is not waited for: no change will repeat it.
    """
    deadline_ns = time.monotonic_ns() + _COARSE_NS
    while True:
        state = _State.of(descriptor)
        step_ns = _COARSE_NS if state.changed_ns % _SECOND_NS == 0 else _TICK_NS
        age_ns = time.time_ns() - state.changed_ns
        if not 0 <= age_ns <= step_ns or time.monotonic_ns() > deadline_ns:
            return state
        time.sleep((step_ns - age_ns + 1) / _SECOND_NS)


def _inode_at(path: str) -> int | None:
    """The inode of the file at this path now; None if there is none."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def _changed(file: placement_pb2.ModelFile, what: str) -> ModelFileChanged:
    return ModelFileChanged(f"{file.path} changed since it was planned ({what}); unload the model and load it again")


def _open(path: str, *, direct: bool) -> int:
    """Open for reading past the page cache: O_DIRECT on Linux, F_NOCACHE on macOS."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        if direct and hasattr(os, "O_DIRECT"):
            return os.open(path, flags | os.O_DIRECT)
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise ModelFileChanged(f"{path} is gone; register the model again") from error
    if direct and hasattr(fcntl, "F_NOCACHE"):
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
    return descriptor
