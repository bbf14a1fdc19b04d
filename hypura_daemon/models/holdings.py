"""The files that hypura itself has put below its home, by pulls and uploads; it deletes these and no others.

blobs/sha256-…                   weights and texts, of pulled models and of uploads
manifests/HOST/NAMESPACE/…       pulled models, in Ollama's layout
huggingface/OWNER/REPOSITORY/…   files of Hugging Face repositories
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.names import ModelName
from hypura_daemon.models.splits import MAX_PARTS, part_of
from hypura_daemon.models.stores.ollama import MAX_MANIFEST_BYTES, blob_path, manifest_path, parse_manifest
from hypura_daemon.models.whole_file import write_whole

_log = structlog.get_logger()


class Holdings:
    """See the module's description."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs = home / "blobs"
        self.repositories = home / "huggingface"

    def owns(self, path: Path) -> bool:
        """Whether a file is one of these."""
        return self.blobs in path.parents or self.repositories in path.parents

    def put_manifest(self, name: ModelName, content: bytes) -> list[Path]:
        """Put a pulled model's manifest in place; the blobs that the one before named. Raises ModelFileError."""
        path = manifest_path(self.home, name)
        try:
            before = self._named_by(path) if path.exists() else []
        except ValueError:
            before = []  # It was damaged.
        write_whole(path, content)
        return before

    def delete_manifest(self, name: ModelName) -> list[Path]:
        """Delete a pulled model's manifest, if there is one; the blobs that it named. Raises ModelFileError."""
        path = manifest_path(self.home, name)
        if not path.exists():
            return []
        blobs = self._named_by(path)
        _unlink(path)
        remove_empty(path.parent, self.home / "manifests")
        return blobs

    def delete_unused(self, paths: Iterable[Path], used: Iterable[Path]) -> None:
        """Delete those of these files that are hypura's own and that no manifest and none of `used` needs.

        Raises ModelFileError if one cannot be deleted. Where a manifest cannot be read nothing is deleted.
        """
        wanted = {path for given in paths for path in _parts(given) if self.owns(path)}
        if not wanted:
            return
        kept = {path for given in used for path in _parts(given)}
        try:
            for manifest in self._manifests():
                kept.update(self._named_by(manifest))
        except (ModelFileError, ValueError) as error:
            _log.warning("unused files are kept, since a manifest cannot be read", error=str(error))
            return
        for path in sorted(wanted - kept):
            _unlink(path)
            if self.repositories in path.parents:
                remove_empty(path.parent, self.repositories)

    def _manifests(self) -> Iterator[Path]:
        found = (self.home / "manifests").glob("*/*/*/*")
        return (path for path in found if not path.name.startswith("."))  # One that is being written.

    def _named_by(self, manifest: Path) -> list[Path]:
        try:
            with manifest.open("rb") as stream:
                content = stream.read(MAX_MANIFEST_BYTES)
        except OSError as error:
            raise ModelFileError(f"{manifest} cannot be read: {error.strerror}; correct its permissions") from error
        return [blob_path(self.home, layer.digest) for layer in parse_manifest(content).blobs]


def _parts(path: Path) -> list[Path]:
    part = part_of(path.name)
    if part is None or part.count > MAX_PARTS:
        return [path]
    return [path.with_name(part.named(number)) for number in range(1, part.count + 1)]


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be deleted: {error.strerror}; correct its permissions") from error


def remove_empty(folder: Path, root: Path) -> None:
    """Remove folders that have become empty, up to the root."""
    while root in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
