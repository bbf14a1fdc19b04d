"""A model that can be asked for: its name, its first file, what overrides the file, and who keeps it."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hypura_daemon.models.overrides import NO_OVERRIDES, Overrides


class Source(Enum):
    """Who keeps a model; the value is for people."""

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
    0 for one that is as old as its file.
    """

    name: str
    path: Path
    overrides: Overrides = NO_OVERRIDES
    source: Source = Source.CATALOGUE
    parent: str = ""
    made_seconds: float = 0.0
