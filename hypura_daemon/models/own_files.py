"""The files that hypura itself keeps below its home, from pulls and uploads; it deletes these and no others.

blobs/sha256-…                   weights and texts, of pulled models and of uploads
manifests/HOST/NAMESPACE/…       pulled models, in Ollama's layout
huggingface/OWNER/REPOSITORY/…   files of Hugging Face repositories
"""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import structlog

from hypura_daemon.errors import InvalidRequest, ModelFileError
from hypura_daemon.models.gguf.splits import MAX_PARTS, part_of
from hypura_daemon.models.names import ModelName
from hypura_daemon.models.pulling.download import SPARE_BYTES, check_room, in_thread, synced_rename
from hypura_daemon.models.stores.ollama import DIGEST, MAX_MANIFEST_BYTES, blob_path, manifest_path, parse_manifest
from hypura_daemon.system.files import replace_file

_log = structlog.get_logger()
_UPLOAD = ".upload-"
_CHECK_BYTES = 256 << 20


class OwnFiles:
    """The files of pulled models and of uploads, and which of them are still needed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs = home / "blobs"
        self.repositories = home / "huggingface"

    def owns(self, path: Path) -> bool:
        """Whether hypura itself put the file there."""
        return self.blobs in path.parents or self.repositories in path.parents

    def put_manifest(self, name: ModelName, content: bytes) -> list[Path]:
        """Put a pulled model's manifest in place; returns the blobs of the manifest that it replaces.

        Raises ModelFileError.
        """
        path = manifest_path(self.home, name)
        try:
            before = self._named_by(path) if path.exists() else []
        except ValueError:
            before = []  # The manifest was damaged.
        try:
            replace_file(path, content)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be written: {error.strerror}; nothing was changed") from error
        return before

    def delete_manifest(self, name: ModelName) -> list[Path]:
        """Delete a pulled model's manifest, if there is one; returns its blobs. Raises ModelFileError."""
        path = manifest_path(self.home, name)
        if not path.exists():
            return []
        blobs = self._named_by(path)
        _unlink(path)
        remove_empty(path.parent, self.home / "manifests")
        return blobs

    def delete_unused(self, paths: Iterable[Path], used: Iterable[Path]) -> None:
        """Delete those of these files that are hypura's own and needed neither by a manifest nor by `used`.

        Raises ModelFileError if a file cannot be deleted. Nothing is deleted while a manifest cannot be read.
        """
        wanted = {path for given in paths for path in _parts(given) if self.owns(path)}
        if not wanted:
            return
        kept = {path for given in used for path in _parts(given)}
        try:
            for manifest in self._manifests():
                kept.update(self._named_by(manifest))
        except (ModelFileError, ValueError) as error:
            _log.warning("unused files are kept because a manifest cannot be read", error=str(error))
            return
        for path in sorted(wanted - kept):
            _unlink(path)
            if self.repositories in path.parents:
                remove_empty(path.parent, self.repositories)

    def _manifests(self) -> Iterator[Path]:
        found = (self.home / "manifests").glob("*/*/*/*")
        return (path for path in found if not path.name.startswith("."))  # A leading dot: it is being written.

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


def parse_digest(text: str) -> str:
    """The 64 digits of sha256:…. Raises InvalidRequest."""
    match = DIGEST.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"invalid digest {text[:80]!r}; give sha256: and 64 hexadecimal digits in lower case")
    return match[1]


class Blobs:
    """Uploads to the home's folder `blobs`; half-written files of a killed daemon are deleted."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "blobs"
        for left in self._folder.glob(f"{_UPLOAD}*"):
            left.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """The path of a digest's file, which need not exist. Raises InvalidRequest."""
        return self._folder / f"sha256-{parse_digest(digest)}"

    async def put(self, digest: str, chunks: AsyncIterator[bytes], size_bytes: int = 0) -> bool:
        """Store an upload; returns whether the file is new. size_bytes: as announced, 0 if it was not.

        Raises InvalidRequest if the sha256 differs, DownloadFailed if the drive has no room, ModelFileError.
        """
        path = self.path(digest)
        if await in_thread(path.is_file):
            return False
        await in_thread(check_room, self._folder, size_bytes)
        try:
            await self._receive(path, chunks)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be written: {error.strerror or error}; free some space") from error
        return True

    async def _receive(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        await in_thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        hashed, unchecked_bytes = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(prefix=_UPLOAD, dir=path.parent, delete=False) as stream:
            written = Path(stream.name)
            try:
                async for chunk in chunks:
                    await in_thread(stream.write, chunk)
                    await in_thread(hashed.update, chunk)
                    unchecked_bytes += len(chunk)
                    if unchecked_bytes > _CHECK_BYTES:
                        await in_thread(check_room, self._folder, SPARE_BYTES)
                        unchecked_bytes = 0
                await in_thread(stream.flush)
                if hashed.hexdigest() != parse_digest(path.name):
                    raise InvalidRequest(
                        f"digest mismatch, expected {path.name.replace('-', ':')}, got sha256:{hashed.hexdigest()}; "
                        "upload the file again"
                    )
                await in_thread(synced_rename, written, path)
            finally:
                await in_thread(written.unlink, True)
