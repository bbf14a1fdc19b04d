"""The model's files, opened for direct reads and watched for change."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from types import TracebackType

from hypura.v1 import placement_pb2
from hypura_worker.errors import ModelFileChanged


class ModelFiles:
    """Open descriptors of a model's files, in the order of Plan.files.

    A file that is deleted or renamed over stays readable through its descriptor; one
    that is truncated or written to in place is noticed by `check`.
    """

    def __init__(self, files: Sequence[placement_pb2.ModelFile], *, direct: bool) -> None:
        self.descriptors: list[int] = []
        self._files = list(files)
        try:
            for file in self._files:
                self.descriptors.append(_open(file.path, direct=direct))
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise ModelFileChanged unless every file still is what was planned."""
        for file, descriptor in zip(self._files, self.descriptors, strict=True):
            status = os.fstat(descriptor)
            now = (status.st_size, status.st_mtime_ns, status.st_ino)
            planned = (file.size_bytes, file.modified_nanoseconds, file.inode)
            if now != planned:
                raise ModelFileChanged(
                    f"{file.path} changed since it was planned ({file.size_bytes} bytes then, "
                    f"{status.st_size} now); unload the model and load it again"
                )

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
