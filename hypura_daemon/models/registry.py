"""The registered models: those in the catalogue, and those that lie in the home's models folder.

Methods may be called from several threads, and may read files: keep them off the event loop.
"""

import difflib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from hypura_daemon.errors import InvalidRequest, ModelFileError, ModelNotFound
from hypura_daemon.models.catalogue import Entry, load_entries, save_entries
from hypura_daemon.models.model import Model, ModelFile, open_model
from hypura_daemon.models.names import ModelName, full_name, name_for, parse_name
from hypura_daemon.models.scan import MAX_MODELS, find_models
from hypura_daemon.models.splits import first_part
from hypura_daemon.models.summary import ModelSummary, summarize, summarize_failure

_KEPT_MODELS = 16

_log = structlog.get_logger()


class Registry:
    """Knows models by name; names are compared without regard to case.

    Headers are read again only when a file's size, time or inode has changed.
    """

    def __init__(self, home: Path) -> None:
        """Reads the catalogue. Raises ModelFileError if it must not be read."""
        self._file = home / "models.json"
        self._folder = home / "models"
        self._lock = threading.Lock()
        self._entries = {_key(entry.name): entry for entry in load_entries(self._file)}
        self._found: dict[str, Entry] = {}
        self._told: frozenset[str] = frozenset()
        self._models: OrderedDict[Path, Model] = OrderedDict()
        self._summaries: dict[Path, tuple[tuple[ModelFile, ...], ModelSummary]] = {}
        self._rescan()

    def get(self, name: str) -> Entry:
        """The registered name and path. A name without a tag also means the one model that has it with a tag.

        Raises InvalidModelName, ModelNotFound.
        """
        wanted = parse_name(name)
        tagged = ":" in name.rpartition("/")[2]
        entry = self._lookup(wanted, tagged=tagged)
        if entry is None:
            self._rescan()
            entry = self._lookup(wanted, tagged=tagged)
        if entry is None:
            raise self._not_found(_key(str(wanted)))
        return entry

    def open(self, name: str) -> Model:
        """The model, read again if its files have changed.

        Raises InvalidModelName, ModelNotFound, ModelFileError and UnsupportedModel.
        """
        entry = self.get(name)
        return replace(self._read(entry.path), name=entry.name)

    def add(self, path: Path, name: str = "") -> list[ModelSummary]:
        """Register a file, or all models below a folder; registering the same again changes nothing.

        A folder's files that are no models are passed over, and told in the log.
        Raises InvalidRequest, InvalidModelName, ModelFileError and UnsupportedModel.
        """
        path = _absolute(path)
        if not path.is_dir():
            return [self._add_file(path, name)]
        if name:
            raise InvalidRequest(f"{path} is a folder, so the name {name!r} is not possible; its models get their own")
        scan = find_models(path)
        reasons = list(scan.left_out)
        summaries = []
        for file in scan.models:
            try:
                summaries.append(self._add_file(file, ""))
            except ModelFileError as error:
                reasons.append(str(error))
        for reason in reasons:
            _log.warning("a file in the folder is passed over", folder=str(path), reason=reason)
        if not summaries:
            why = f": {reasons[0]}" if reasons else "; it must hold GGUF files"
            raise ModelFileError(f"no model was found in {path}{why}")
        return summaries

    def list(self) -> list[ModelSummary]:
        """Every registered model by name; one that cannot be read is there with its error."""
        self._rescan()
        entries = sorted(self._known().values(), key=lambda entry: entry.name)
        return [self._summary(entry) for entry in entries]

    def remove(self, name: str) -> None:
        """Forget a model; its files stay. Raises InvalidModelName, ModelNotFound, InvalidRequest."""
        entry = self.get(name)
        with self._lock:
            kept = {key: other for key, other in self._entries.items() if key != _key(entry.name)}
            if len(kept) < len(self._entries):
                save_entries(self._file, kept.values())
                self._entries = kept
                return
        raise InvalidRequest(
            f"{entry.name} is listed because {entry.path} lies in {self._folder}; move the file away to forget it"
        )

    def _add_file(self, path: Path, name: str) -> ModelSummary:
        path = first_part(path)
        wanted = full_name(name) if name else ""
        model = self._read(path)
        with self._lock:
            known = {**self._found, **self._entries}
            if not wanted:
                same = next((entry for entry in known.values() if entry.path == path), None)
                if same is not None:
                    return summarize(replace(model, name=same.name))
                wanted = _free_name(path, known)
            taken = known.get(_key(wanted))
            if taken is not None and taken.path != path:
                raise InvalidRequest(
                    f"the name {taken.name} already stands for {taken.path}; give {path} another with --name, "
                    f"or forget the old one with: hypuractl rm {taken.name}"
                )
            if taken is None:
                if len(known) >= MAX_MODELS:
                    raise InvalidRequest(f"{MAX_MODELS} models are registered, the most there can be; remove some")
                entries = {**self._entries, _key(wanted): Entry(wanted, path)}
                save_entries(self._file, entries.values())
                self._entries = entries
        return summarize(replace(model, name=taken.name if taken else wanted))

    def _lookup(self, wanted: ModelName, *, tagged: bool) -> Entry | None:
        known = self._known()
        entry = known.get(_key(str(wanted)))
        if entry is not None or tagged:
            return entry
        stem = _key(str(wanted).rpartition(":")[0])
        same = [other for key, other in known.items() if key.rpartition(":")[0] == stem]
        return same[0] if len(same) == 1 else None

    def _known(self) -> dict[str, Entry]:
        with self._lock:
            return {**self._found, **self._entries}

    def _not_found(self, key: str) -> ModelNotFound:
        names = {known: entry.name for known, entry in self._known().items()}
        close = [other for other in names if other.rpartition(":")[0] == key.rpartition(":")[0]]
        close += [other for other in difflib.get_close_matches(key, names, n=3, cutoff=0.5) if other not in close]
        if close:
            hint = f"did you mean {' or '.join(names[other] for other in close[:3])}?"
        else:
            hint = "see hypuractl models, or add a file with: hypuractl add PATH"
        return ModelNotFound(f"no model is called {key}; {hint}")

    def _rescan(self) -> None:
        """Look again at what lies in the models folder."""
        if not self._folder.is_dir():
            with self._lock:
                self._found = {}
            return
        folder = self._folder.resolve()
        scan = find_models(folder)
        found: dict[str, Entry] = {}
        with self._lock:
            registered = {entry.path for entry in self._entries.values()}
            for path in scan.models:
                if path not in registered:
                    name = _free_name(path, {**found, **self._entries})
                    found[_key(name)] = Entry(name, path)
            self._found = found
            new = [reason for reason in scan.left_out if reason not in self._told]
            self._told = frozenset(scan.left_out)
        for problem in new:
            _log.warning("a file in the models folder is left out", reason=problem)

    def _summary(self, entry: Entry) -> ModelSummary:
        with self._lock:
            kept = self._summaries.get(entry.path)
        if kept is not None and _unchanged(kept[0]):
            return replace(kept[1], name=entry.name)
        try:
            return summarize(replace(self._read(entry.path), name=entry.name))
        except ModelFileError as error:
            return summarize_failure(entry.name, entry.path, str(error))

    def _read(self, path: Path) -> Model:
        """The model of a path, nameless, from memory while its files are the same."""
        with self._lock:
            model = self._models.get(path)
        if model is None or not _unchanged(model.files):
            model = open_model(path, "")
        with self._lock:
            self._models[path] = model
            self._models.move_to_end(path)
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
            self._summaries[path] = (model.files, summarize(model))
        return model


def _key(name: str) -> str:
    return name.lower()


def _free_name(path: Path, known: Mapping[str, Entry]) -> str:
    """A name made from the file's, with a number where another file has it: many folders hold a model.gguf."""
    made = name_for(path)
    stem, _, tag = made.rpartition(":")
    name, number = made, 1
    while _key(name) in known:
        number += 1
        name = f"{stem}-{number}:{tag}"
    return name


def _absolute(path: Path) -> Path:
    """Links in the folders are resolved; the file's own name is kept, since it may say which part it is."""
    if not path.is_absolute() or "\0" in str(path):
        raise InvalidRequest(f"the path {str(path)!r} is not absolute; give the whole path of a GGUF file or folder")
    try:
        resolved = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
        str(resolved).encode("utf-8")
    except (OSError, RuntimeError) as error:
        raise InvalidRequest(f"the path {path} cannot be followed: {error}; give another") from error
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"the path {str(path)!r} is not UTF-8; rename it") from error
    return resolved


def _unchanged(files: Iterable[ModelFile]) -> bool:
    for file in files:
        try:
            status = file.path.stat()
        except OSError:
            return False
        if (status.st_size, status.st_mtime_ns, status.st_ino) != (
            file.size_bytes,
            file.modified_nanoseconds,
            file.inode,
        ):
            return False
    return True
