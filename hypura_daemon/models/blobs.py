"""Uploaded files: kept below the home by their sha256, as parts of models that are made from them."""

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from hypura_daemon.errors import InvalidRequest, ModelFileError
from hypura_daemon.models.pulling.download import SPARE_BYTES, check_room, in_thread, synced_rename

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})", re.ASCII)
_UPLOAD = ".upload-"
_CHECK_BYTES = 256 << 20


def parse_digest(text: str) -> str:
    """The 64 digits of sha256:…. Raises InvalidRequest."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"invalid digest {text[:80]!r}; give sha256: and 64 hexadecimal digits in lower case")
    return match[1]


class Blobs:
    """The files in the home's folder `blobs`; what a killed daemon left half written there is deleted."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "blobs"
        for left in self._folder.glob(f"{_UPLOAD}*"):
            left.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where the file of a digest lies, or would. Raises InvalidRequest."""
        return self._folder / f"sha256-{parse_digest(digest)}"

    async def put(self, digest: str, chunks: AsyncIterator[bytes], size_bytes: int = 0) -> bool:
        """Keep what comes; whether it was new. size_bytes is what was announced, 0 for nothing.

        Raises InvalidRequest if its sha256 is another, DownloadFailed if the drive has no room, ModelFileError.
        """
        path = self.path(digest)
        if await in_thread(path.is_file):
            return False
        await in_thread(check_room, self._folder, size_bytes)
        try:
            await self._receive(path, chunks)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be written: {error.strerror or error}; make room there") from error
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
