"""Which stores are read, and where they are: the demo model's, and those of other programs.

A store is where its owner's environment variables put it, else in its owner's usual place.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypura_daemon.models.catalogue import Entry, Source
from hypura_daemon.models.stores.ollama import OllamaStore
from hypura_daemon.models.stores.repositories import HuggingFaceStore, LmStudioStore
from hypura_daemon.models.stores.scanning import FolderScanner, Store, StoreScan

DEMO_FOLDER = Path(__file__).parents[1] / "demo"
DEMO_NAME = "demo:latest"


class DemoStore:
    """The demo model that comes with hypura, demo:latest, if its file is in the package."""

    source = Source.DEMO

    def __init__(self, root: Path = DEMO_FOLDER) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The demo model; the last by name if an update left two files."""
        scanner = FolderScanner(self._root)
        names = [
            name for name in scanner.names(self._root) if name.startswith("hypura-demo") and name.endswith(".gguf")
        ]
        return scanner.done([Entry(DEMO_NAME, self._root / name, source=self.source) for name in names[-1:]])


def stores_at(wanted: Sequence[str], environ: Mapping[str, str], user: Path) -> tuple[Store, ...]:
    """The wanted ones of settings.STORES, and the demo model's; `user` is the user's home folder."""
    stores: list[Store] = []
    if "ollama" in wanted:
        given = environ.get("OLLAMA_MODELS")
        usual = (user / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))
        stores += [OllamaStore(root) for root in ([_folder(given, user)] if given else usual)]
    if "huggingface" in wanted:
        stores.append(HuggingFaceStore(_hub_cache(environ, user)))
    if "lm-studio" in wanted:
        given = environ.get("HYPURA_LM_STUDIO")
        usual = (user / ".lmstudio" / "models", user / ".cache" / "lm-studio" / "models")
        stores += [LmStudioStore(root) for root in ([_folder(given, user)] if given else usual)]
    return (*stores, DemoStore())


def _hub_cache(environ: Mapping[str, str], user: Path) -> Path:
    """Found as huggingface_hub does: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"""
    if given := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return _folder(given, user)
    if given := environ.get("HF_HOME"):
        return _folder(given, user) / "hub"
    cache = environ.get("XDG_CACHE_HOME")
    return (_folder(cache, user) if cache else user / ".cache") / "huggingface" / "hub"


def _folder(given: str, user: Path) -> Path:
    return user / given[2:] if given.startswith("~/") else Path(given).absolute()
