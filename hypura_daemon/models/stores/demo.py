"""The demo model that comes with hypura: demo:latest, if its file lies in the package."""

from pathlib import Path

from hypura_daemon.models.entry import Entry, Source
from hypura_daemon.models.stores.store import Look, StoreScan

DEMO_FOLDER = Path(__file__).parents[1] / "demo"
DEMO_NAME = "demo:latest"


class DemoStore:
    """See the module's description."""

    source = Source.DEMO

    def __init__(self, root: Path = DEMO_FOLDER) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The one model, the last by name if an update left two."""
        look = Look(self._root)
        names = [name for name in look.names(self._root) if name.startswith("hypura-demo") and name.endswith(".gguf")]
        return look.done([Entry(DEMO_NAME, self._root / name, source=self.source) for name in names[-1:]])
