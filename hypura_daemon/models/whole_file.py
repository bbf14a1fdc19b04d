"""Writes a small file so that it is there whole or not at all."""

import os
import tempfile
from pathlib import Path

from hypura_daemon.errors import ModelFileError


def write_whole(file: Path, content: bytes) -> None:
    """Replace the file, over a crash too. Raises ModelFileError, and leaves the old one, if that fails."""
    temporary: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise ModelFileError(f"{file} cannot be written: {error.strerror}; nothing was changed") from error
