"""The Hugging Face cache: models--OWNER--REPOSITORY/snapshots/COMMIT/…/FILE.gguf, links into blobs.

A file is listed as hf.co/OWNER/REPOSITORY:QUANTIZATION, as Ollama calls it when it pulls it from there.
"""

from pathlib import Path

from hypura_daemon.models.entry import Source
from hypura_daemon.models.stores.repository import RepositoryEntries
from hypura_daemon.models.stores.store import Look, StoreScan

_PREFIX = "models--"
_MAX_COMMIT_CHARACTERS = 256


class HuggingFaceStore:
    """See the module's description; `root` is the folder of the repositories."""

    source = Source.HUGGING_FACE

    def __init__(self, root: Path) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The GGUF files of every repository's current commit, and of older ones what that lacks."""
        look = Look(self._root)
        found = RepositoryEntries(look, self.source)
        for name in look.names(self._root):
            owner, separator, repository = name.removeprefix(_PREFIX).partition("--")
            if not name.startswith(_PREFIX) or not separator:
                continue
            for snapshot in _snapshots(look, self._root / name):
                found.add_folder(snapshot, f"hf.co/{owner}/{repository}")
        return look.done(found.entries)


def _snapshots(look: Look, repository: Path) -> list[Path]:
    """The folders of the commits, the one that `main` stands for first, then the newest."""
    folder = repository / "snapshots"
    names = look.names(folder)
    main = repository / "refs" / "main"
    look.stamp(main)
    try:
        with main.open("rb") as stream:
            current = stream.read(_MAX_COMMIT_CHARACTERS).decode("ascii", "replace").strip()
    except OSError:
        current = ""
    stamps = {name: look.stamp(folder / name) for name in names}
    newest_first = sorted(names, key=lambda name: (stamps[name] or (0,))[0], reverse=True)
    return [folder / name for name in sorted(newest_first, key=lambda name: name != current)]
