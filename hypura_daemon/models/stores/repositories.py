"""Stores whose folders are repositories of files: the Hugging Face cache and LM Studio's folder.

models--OWNER--REPOSITORY/snapshots/COMMIT/…/FILE.gguf   listed as hf.co/OWNER/REPOSITORY:QUANTIZATION,
                                                         as Ollama names them
PUBLISHER/REPOSITORY/FILE.gguf                           LM Studio's; listed as PUBLISHER/REPOSITORY:QUANTIZATION
"""

from pathlib import Path

from hypura_daemon.errors import InvalidModelName
from hypura_daemon.models.catalogue import Entry, Source
from hypura_daemon.models.gguf.splits import first_part
from hypura_daemon.models.names import full_name, is_quantization, quantization_in, tag_for
from hypura_daemon.models.stores.scanning import FolderScanner, StoreScan

MAX_DEPTH = 3
_HELPERS = ("mmproj", "imatrix")
"""Vision encoders and calibration data, which are stored beside the models that they belong to."""
_PREFIX = "models--"
_MAX_COMMIT_CHARACTERS = 256


def is_model_file(name: str) -> bool:
    """Whether a file of this name is a language model, as far as the name shows it."""
    lower = name.lower()
    return lower.endswith(".gguf") and not any(helper in lower for helper in _HELPERS)


def repository_tag(path: Path, repository: Path) -> str:
    """The tag of a repository's file: its quantization, which some repositories name only in the folder's name."""
    tag = tag_for(path)
    if is_quantization(tag) or path.parent == repository:
        return tag
    folder = path.parent.name
    return (folder if is_quantization(folder) else quantization_in(folder)[1]).upper() or tag


class RepositoryEntries:
    """The entries of repositories; the first model of a name keeps it."""

    def __init__(self, scanner: FolderScanner, source: Source) -> None:
        self.entries: list[Entry] = []
        self._scanner = scanner
        self._source = source
        self._names: set[str] = set()

    def add_folder(self, folder: Path, repository: str) -> None:
        """Add the models in a folder and the folders below it."""
        if not self._scanner.inside(folder):
            return
        outside: set[Path] = set()
        models: list[Path] = []
        for path in self._files(folder, 0):
            model = first_part(path)
            if not self._scanner.inside(path):
                outside.add(model)
            elif self._scanner.stamp(path) is None:
                self._scanner.left_out.append(f"{path} is a link to a file that does not exist")
            elif model not in models:
                models.append(model)
        for model in models:
            if model in outside:
                continue
            try:
                name = full_name(f"{repository}:{repository_tag(model, folder)}")
            except InvalidModelName as error:
                self._scanner.left_out.append(f"{model}: {error}")
                continue
            if name.lower() not in self._names:
                self._names.add(name.lower())
                self.entries.append(Entry(name, model, source=self._source))

    def _files(self, folder: Path, depth: int) -> list[Path]:
        files: list[Path] = []
        for name in self._scanner.names(folder):
            path = folder / name
            if is_model_file(name):
                files.append(path)
            elif depth < MAX_DEPTH and path.is_dir() and not path.is_symlink():
                files += self._files(path, depth + 1)
        return files


class HuggingFaceStore:
    """The Hugging Face cache; `root` is the folder of the repositories."""

    source = Source.HUGGING_FACE

    def __init__(self, root: Path) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The GGUF files of every repository's current commit, and those of older commits that it lacks."""
        scanner = FolderScanner(self._root)
        found = RepositoryEntries(scanner, self.source)
        for name in scanner.names(self._root):
            owner, separator, repository = name.removeprefix(_PREFIX).partition("--")
            if not name.startswith(_PREFIX) or not separator:
                continue
            for snapshot in _snapshots(scanner, self._root / name):
                found.add_folder(snapshot, f"hf.co/{owner}/{repository}")
        return scanner.done(found.entries)


def _snapshots(scanner: FolderScanner, repository: Path) -> list[Path]:
    """The folders of the commits: first the one of `main`, then from new to old."""
    folder = repository / "snapshots"
    names = scanner.names(folder)
    main = repository / "refs" / "main"
    scanner.stamp(main)
    try:
        with main.open("rb") as stream:
            current = stream.read(_MAX_COMMIT_CHARACTERS).decode("ascii", "replace").strip()
    except OSError:
        current = ""
    stamps = {name: scanner.stamp(folder / name) for name in names}
    newest_first = sorted(names, key=lambda name: (stamps[name] or (0,))[0], reverse=True)
    return [folder / name for name in sorted(newest_first, key=lambda name: name != current)]


class LmStudioStore:
    """LM Studio's folder; `root` is the folder of the publishers."""

    source = Source.LM_STUDIO

    def __init__(self, root: Path) -> None:
        self._root = root

    def scan(self) -> StoreScan:
        """The GGUF files of every repository."""
        scanner = FolderScanner(self._root)
        found = RepositoryEntries(scanner, self.source)
        for publisher in scanner.names(self._root):
            for repository in scanner.names(self._root / publisher):
                folder = self._root / publisher / repository
                if folder.is_dir():
                    found.add_folder(folder, f"{publisher}/{repository}")
        return scanner.done(found.entries)
