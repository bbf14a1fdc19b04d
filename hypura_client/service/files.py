"""The files that a service manager reads."""

import os
from pathlib import Path


def written(path: Path, content: bytes) -> bool:
    """Have the file hold the content, replaced at once and whole; False when it did already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return True
