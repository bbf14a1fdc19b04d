"""A model's digest: 64 hexadecimal digits that name its content, made without reading all of it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.model import ModelFile
from hypura_daemon.models.overrides import Overrides, overrides_dict

WINDOW_BYTES = 1 << 18
"""Holds the metadata of every model up to its vocabulary; two quantizations differ there, and in their sizes."""


def files_digest(files: Sequence[ModelFile]) -> str:
    """Of the files' sizes and first windows; where they lie and when they changed does not count."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.size_bytes.to_bytes(8, "little"))
        digest.update(hashlib.sha256(_window(file.path)).digest())
    return digest.hexdigest()


def model_digest(files: str, overrides: Overrides) -> str:
    """Of the files' digest and what overrides them."""
    if not overrides:
        return files
    text = json.dumps(overrides_dict(overrides), sort_keys=True)
    return hashlib.sha256(f"{files}{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _window(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(WINDOW_BYTES)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}; check the drive") from error
