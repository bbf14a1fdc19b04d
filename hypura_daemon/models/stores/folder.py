"""Finds the GGUF models below a folder, within bounds."""

import os
from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.models.gguf.splits import first_part

MAX_DEPTH = 8
MAX_SEEN = 100_000
MAX_MODELS = 10_000
_UNCONVERTED = (".safetensors", ".pth", ".pt", ".ckpt")
"""Weights in other formats than GGUF."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder without a usable model, as text that can be sent on, and the reason.

    is_part: it is a part of a model, so nothing is wrong with it.
    """

    path: str
    reason: str
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """The models found, as their first files in order, and what was left out."""

    models: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def find_models(folder: Path) -> Scan:
    """Walk `folder`, not following links to folders. Hidden files are passed over; parts of a split
    model count as one. Unreadable folders and reached bounds are in `left_out`."""
    models: set[Path] = set()
    left_out: list[LeftOut] = []
    unconverted: Path | None = None
    seen = 0

    def leave_out(path: Path, why: str) -> None:
        left_out.append(LeftOut(shown(path), f"{shown(path)} {why}"))

    def unreadable(error: OSError) -> None:
        leave_out(Path(error.filename or folder), f"cannot be read: {error.strerror}; correct its permissions")

    for name, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(name)
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        if len(here.relative_to(folder).parts) >= MAX_DEPTH and folders:
            leave_out(here, f"has folders deeper than {MAX_DEPTH}; add those separately")
            folders.clear()
        seen += len(files) + len(folders)
        if seen > MAX_SEEN or len(models) > MAX_MODELS:
            leave_out(folder, f"holds more than {MAX_SEEN} files or {MAX_MODELS} models; add smaller folders")
            break
        for file in files:
            if not file.lower().endswith(".gguf") or file.startswith("."):
                unconverted = unconverted or (here / file if file.lower().endswith(_UNCONVERTED) else None)
                continue
            if shown(here / file) != str(here / file):
                leave_out(here / file, "has a name that is not UTF-8; rename it")
                continue
            models.add(first_part(here / file))
    if unconverted is not None and not models and not left_out:
        leave_out(
            unconverted,
            "is not a GGUF file, and there is no other; convert the model with llama.cpp's convert_hf_to_gguf.py, or "
            "download a GGUF version of it",
        )
    return Scan(tuple(sorted(models)[:MAX_MODELS]), tuple(left_out))


def shown(path: Path) -> str:
    """The path as text that can be sent on."""
    return os.fsencode(path).decode("utf-8", "replace")
