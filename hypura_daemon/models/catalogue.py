"""The entries of models, and the list of registered ones on disk: models.json in the home, replaced atomically."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog

from hypura_daemon.errors import InvalidModelName, ModelFileError
from hypura_daemon.models.names import full_name
from hypura_daemon.models.overrides import NO_OVERRIDES, Overrides, overrides_dict, overrides_from
from hypura_daemon.system.files import replace_file

MAX_CATALOGUE_BYTES = 64 << 20
_log = structlog.get_logger()


class Source(Enum):
    """Where a model comes from; the value is the text shown to people."""

    CATALOGUE = "the catalogue"
    FOLDER = "the models folder"
    PULLED = "hypura's downloads"
    DEMO = "hypura itself"
    OLLAMA = "Ollama"
    HUGGING_FACE = "the Hugging Face cache"
    LM_STUDIO = "LM Studio"


@dataclass(frozen=True, slots=True)
class Entry:
    """A known model: its name with tag, and its first file.

    parent: the model that it was made from; empty for none. made_seconds: when it was made or copied, since the epoch;
    0 for a model that is as old as its file.
    """

    name: str
    path: Path
    overrides: Overrides = NO_OVERRIDES
    source: Source = Source.CATALOGUE
    parent: str = ""
    made_seconds: float = 0.0


def load_entries(file: Path) -> list[Entry]:
    """The entries of the catalogue. A damaged file is logged and renamed, and the list is then empty.

    Raises ModelFileError if the file exists and cannot be read.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_CATALOGUE_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelFileError(f"{file} cannot be read: {error.strerror}; correct its permissions") from error
    try:
        if len(content) > MAX_CATALOGUE_BYTES:
            raise ValueError(f"more than {MAX_CATALOGUE_BYTES} bytes")
        listed = json.loads(content)["models"]
        if not isinstance(listed, list):
            raise ValueError("models is not a list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        aside = _set_aside(file)
        _log.warning("the list of models is damaged; a new one is started", error=str(error), set_aside=str(aside))
        return []
    entries = []
    for item in listed:
        try:
            entries.append(_entry(item))
        except (ValueError, InvalidModelName) as error:
            _log.warning("an entry of the list of models is left out", entry=repr(item)[:200], error=str(error))
    return entries


def save_entries(file: Path, entries: Iterable[Entry]) -> None:
    """Replace the catalogue. Raises ModelFileError, and leaves the old one, if that fails."""
    content = json.dumps({"version": 1, "models": [_item(entry) for entry in entries]}, indent=1)
    if len(content) >= MAX_CATALOGUE_BYTES:
        raise ModelFileError(
            f"{file} would take {len(content)} bytes, more than {MAX_CATALOGUE_BYTES}; remove some models"
        )
    try:
        replace_file(file, f"{content}\n".encode())
    except OSError as error:
        raise ModelFileError(f"{file} cannot be written: {error.strerror}; nothing was changed") from error


def _set_aside(file: Path) -> Path:
    """Rename the file, never onto one that was set aside before."""
    number, aside = 1, file.with_name(f"{file.name}.unreadable")
    while aside.exists():
        number += 1
        aside = file.with_name(f"{file.name}.unreadable-{number}")
    try:
        file.rename(aside)
    except OSError as error:
        raise ModelFileError(f"{file} is damaged and cannot be set aside: {error.strerror}; move it away") from error
    return aside


def _item(entry: Entry) -> dict[str, object]:
    item: dict[str, object] = {"name": entry.name, "path": str(entry.path)}
    if entry.overrides:
        item["overrides"] = overrides_dict(entry.overrides)
    if entry.parent:
        item["parent"] = entry.parent
    if entry.made_seconds:
        item["made_seconds"] = entry.made_seconds
    return item


def _entry(item: object) -> Entry:
    if not isinstance(item, dict):
        raise ValueError("it is not an object")
    name, path = item.get("name"), item.get("path")
    if not isinstance(name, str) or not isinstance(path, str):
        raise ValueError("name and path must be text")
    if not Path(path).is_absolute() or "\0" in path:
        raise ValueError("the path is not absolute")
    path.encode("utf-8")
    overrides = overrides_from(item["overrides"]) if "overrides" in item else Overrides()
    parent, made_seconds = item.get("parent", ""), item.get("made_seconds", 0.0)
    if not isinstance(parent, str) or not isinstance(made_seconds, int | float) or not math.isfinite(made_seconds):
        raise ValueError("parent must be text, and made_seconds a number")
    return Entry(full_name(name), Path(path), overrides, parent=parent, made_seconds=float(made_seconds))
