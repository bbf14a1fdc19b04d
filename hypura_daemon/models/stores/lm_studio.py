"""LM Studio's folder: PUBLISHER/REPOSITORY/FILE.gguf, listed as PUBLISHER/REPOSITORY:QUANTIZATION."""

from pathlib import Path

from hypura_daemon.models.entry import Source
from hypura_daemon.models.stores.repository import RepositoryEntries
from hypura_daemon.models.stores.store import Look, StoreScan


class LmStudioStore:
    """See the module's description; `root` is the folder of the publishers."""

    source = Source.LM_STUDIO

    def __init__(self, root: Path) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The GGUF files of every repository."""
        look = Look(self._root)
        found = RepositoryEntries(look, self.source)
        for publisher in look.names(self._root):
            for repository in look.names(self._root / publisher):
                folder = self._root / publisher / repository
                if folder.is_dir():
                    found.add_folder(folder, f"{publisher}/{repository}")
        return look.done(found.entries)
