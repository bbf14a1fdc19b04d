"""The page cache, emptied between runs so that none finds what another read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_DROP = Path("/proc/sys/vm/drop_caches")


def drop(files: Iterable[Path], system: Path = _DROP) -> str:
    """Empty it as far as we may, and say how far: of "everything", of "the model's files", or "nothing"."""
    try:
        if system.exists():
            system.write_text("1")
            return "everything"
    except OSError:
        pass  # only root may
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return "nothing"
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            advise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return "the model's files"
