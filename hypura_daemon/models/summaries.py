"""Summaries of files, kept over restarts: a list of a thousand models must not read a thousand headers.

home/summaries.json can be deleted at any time; what is in it is believed only while the files are the same.
"""

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.model import ModelFile
from hypura_daemon.models.summary import ModelSummary
from hypura_daemon.models.whole_file import write_whole

VERSION = 2
MAX_BYTES = 64 << 20
MAX_KEPT = 20_000
_KEPT = (
    *("size_bytes", "architecture", "quantization", "parameters", "experts"),
    *("capabilities", "context_length", "embedding_length"),
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Summarized:
    """A file's summary without its model's name, with the files' digest; neither is meant where it has an error.

    is_model: it is no part of a model, as adapters are.
    """

    files: tuple[ModelFile, ...]
    summary: ModelSummary
    digest: str
    is_model: bool = True


class Summaries:
    """May be used from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept = _loaded(file)
        self._changed = False

    def get(self, path: Path) -> Summarized | None:
        """What is known of a file, if it is still the same."""
        with self._lock:
            kept = self._kept.get(path)
        return kept if kept is not None and unchanged(kept.files) else None

    def put(self, path: Path, summarized: Summarized) -> None:
        """Keep what was found out."""
        with self._lock:
            self._changed = self._changed or self._kept.get(path) != summarized
            self._kept[path] = summarized

    def save(self, wanted: Iterable[Path]) -> None:
        """Write what is known of these files, if that has changed; what cannot be written is only told."""
        with self._lock:
            if not self._changed:
                return
            paths = set(wanted)
            # An error may be cured by another version of hypura, so it is found out again.
            lasting = [kept for path, kept in self._kept.items() if path in paths and not kept.summary.error][:MAX_KEPT]
            self._changed = False
        try:
            write_whole(
                self._file, json.dumps({"version": VERSION, "files": [_item(kept) for kept in lasting]}).encode()
            )
        except ModelFileError as error:
            _log.warning("the summaries of models are not kept", error=str(error))


def unchanged(files: Iterable[ModelFile]) -> bool:
    """Whether there are files, and all are what they were."""
    some = False
    for file in files:
        some = True
        try:
            status = file.path.stat()
        except OSError:
            return False
        found = (status.st_size, status.st_mtime_ns, status.st_ino)
        if found != (file.size_bytes, file.modified_nanoseconds, file.inode):
            return False
    return some


def _item(kept: Summarized) -> dict[str, Any]:
    summary = asdict(kept.summary)
    return {
        "files": [[str(file.path), file.size_bytes, file.modified_nanoseconds, file.inode] for file in kept.files],
        "digest": kept.digest,
        **{key: summary[key] for key in _KEPT},
    }


def _loaded(file: Path) -> dict[Path, Summarized]:
    try:
        with file.open("rb") as stream:
            data = json.loads(stream.read(MAX_BYTES))
        if data["version"] != VERSION:
            return {}
        kept = [_summarized(item) for item in data["files"][:MAX_KEPT]]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        _log.warning("the kept summaries of models are not usable, and are made again", error=str(error))
        return {}
    return {found.files[0].path: found for found in kept}


def _summarized(item: Any) -> Summarized:
    files = tuple(ModelFile(Path(path), *(int(number) for number in numbers)) for path, *numbers in item["files"])
    first = files[0]
    summary = ModelSummary(
        name="",
        path=first.path,
        size_bytes=int(item["size_bytes"]),
        architecture=str(item["architecture"]),
        quantization=str(item["quantization"]),
        parameters=int(item["parameters"]),
        experts=int(item["experts"]),
        modified_seconds=first.modified_nanoseconds / 1e9,
        capabilities=tuple(str(name) for name in item["capabilities"]),
        context_length=int(item["context_length"]),
        embedding_length=int(item["embedding_length"]),
    )
    return Summarized(files, summary, str(item["digest"]))
