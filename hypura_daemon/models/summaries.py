"""Summaries and digests of models, kept over restarts: listing a thousand models must not read a thousand headers.

home/summaries.json can be deleted at any time; what is in it is used only while the files are unchanged.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.model import Model, ModelFile
from hypura_daemon.models.overrides import Overrides, overrides_dict
from hypura_daemon.system.files import replace_file

VERSION = 2
MAX_BYTES = 64 << 20
MAX_KEPT = 20_000
_KEPT = (
    *("size_bytes", "architecture", "quantization", "parameters", "experts"),
    *("capabilities", "context_length", "embedding_length"),
)
_log = structlog.get_logger()
WINDOW_BYTES = 1 << 18
"""Holds the metadata of every model up to its vocabulary; two quantizations differ there, and in their sizes."""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A line of the list of models: see ModelSummary in control.proto. `error` is empty for a usable model."""

    name: str
    path: Path
    size_bytes: int = 0
    architecture: str = ""
    quantization: str = ""
    parameters: int = 0
    experts: int = 0
    error: str = ""
    modified_seconds: float = 0.0
    digest: str = ""
    parent: str = ""
    capabilities: tuple[str, ...] = ()
    context_length: int = 0
    embedding_length: int = 0


def summarize(model: Model) -> ModelSummary:
    """The summary of a model that could be read."""
    first = model.files[0]
    return ModelSummary(
        name=model.name,
        path=first.path,
        size_bytes=model.size_bytes,
        architecture=model.architecture,
        quantization=model.quantization,
        parameters=model.parameters,
        experts=model.hyperparameters.expert_count,
        modified_seconds=first.modified_nanoseconds / 1e9,
        digest=model.digest,
        capabilities=model.capabilities,
        context_length=model.hyperparameters.context_length,
        embedding_length=model.hyperparameters.embedding_length,
    )


def summarize_failure(name: str, path: Path, error: str) -> ModelSummary:
    """The summary of a model that could not be read; with size and time where the system knows them."""
    try:
        status = path.stat()
    except OSError:
        return ModelSummary(name, path, error=error)
    return ModelSummary(name, path, size_bytes=status.st_size, error=error, modified_seconds=status.st_mtime)


@dataclass(frozen=True, slots=True)
class Summarized:
    """A file's summary, without its model's name, and the digest of its files, which is empty where there is an error.

    is_model: False for what is only a part of a model, such as an adapter.
    """

    files: tuple[ModelFile, ...]
    summary: ModelSummary
    digest: str
    is_model: bool = True


class Summaries:
    """The summaries of files, by path. May be used from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept = _loaded(file)
        self._changed = False

    def get(self, path: Path) -> Summarized | None:
        """The summary of a file, if the file has not changed."""
        with self._lock:
            kept = self._kept.get(path)
        return kept if kept is not None and unchanged(kept.files) else None

    def put(self, path: Path, summarized: Summarized) -> None:
        """Keep a file's summary."""
        with self._lock:
            self._changed = self._changed or self._kept.get(path) != summarized
            self._kept[path] = summarized

    def save(self, wanted: Iterable[Path]) -> None:
        """Write the summaries of these files, if any has changed. A failure to write is only logged."""
        with self._lock:
            if not self._changed:
                return
            paths = set(wanted)
            # Another version of hypura may read the file, so errors are not kept.
            lasting = [kept for path, kept in self._kept.items() if path in paths and not kept.summary.error][:MAX_KEPT]
            self._changed = False
        try:
            replace_file(
                self._file, json.dumps({"version": VERSION, "files": [_item(kept) for kept in lasting]}).encode()
            )
        except OSError as error:
            _log.warning("the summaries of models cannot be saved", error=str(error))


def unchanged(files: Sequence[ModelFile]) -> bool:
    """Whether there are files, and none has changed."""
    return bool(files) and not any(file.has_changed() for file in files)


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
        _log.warning("the saved summaries of models are not usable and are made again", error=str(error))
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


def files_digest(files: Sequence[ModelFile]) -> str:
    """The digest of the files' sizes and first windows; their paths and times do not count."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.size_bytes.to_bytes(8, "little"))
        digest.update(hashlib.sha256(_window(file.path)).digest())
    return digest.hexdigest()


def model_digest(files: str, overrides: Overrides) -> str:
    """The digest of a model: of its files and of what overrides them."""
    if not overrides:
        return files
    text = json.dumps(overrides_dict(overrides), sort_keys=True)
    return hashlib.sha256(f"{files}{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _window(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(WINDOW_BYTES)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}; check the drive") from error
