"""Writes a small file of the models' so that it is there whole or not at all."""

from pathlib import Path

from hypura_daemon.errors import ModelFileError
from hypura_daemon.system.files import replace_file


def write_whole(file: Path, content: bytes) -> None:
    """Replace the file, over a crash too. Raises ModelFileError, and leaves the old one, if that fails."""
    try:
        replace_file(file, content)
    except OSError as error:
        raise ModelFileError(f"{file} cannot be written: {error.strerror}; nothing was changed") from error
