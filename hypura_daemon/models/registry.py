"""The registry: the models by name, from the catalogue, the home's models folder, pulls, and stores of other programs.

Methods may be called from several threads, and may read files: call them outside the event loop.
"""

import difflib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hypura_daemon.errors import InvalidRequest, ModelFileError, ModelNotFound, NoLanguageModel
from hypura_daemon.models.catalogue import Entry, Source, load_entries, save_entries
from hypura_daemon.models.gguf.splits import first_part, part_of
from hypura_daemon.models.model import Model, ModelFile, open_model, templated
from hypura_daemon.models.names import ModelName, full_name, parse_name
from hypura_daemon.models.overrides import NO_OVERRIDES, Overrides
from hypura_daemon.models.own_files import OwnFiles
from hypura_daemon.models.stores.folder import MAX_MODELS, LeftOut, find_models
from hypura_daemon.models.stores.ollama import OllamaStore
from hypura_daemon.models.stores.scanning import Store
from hypura_daemon.models.summaries import (
    ModelSummary,
    Summaries,
    Summarized,
    files_digest,
    model_digest,
    summarize,
    summarize_failure,
    unchanged,
)
from hypura_daemon.models.unregistered import UnregisteredModels, free_name, key_of

_KEPT_MODELS = 16


class Registry:
    """The models by name; names are compared without regard to case.

    Headers are read again only when a file's size, time or inode has changed.
    """

    def __init__(self, home: Path, stores: Sequence[Store] = ()) -> None:
        """Reads the catalogue and scans the stores. Raises ModelFileError if the catalogue cannot be read."""
        home = home.resolve()  # Registered paths are resolved too, so that one file does not look like two.
        self._file = home / "models.json"
        self._own_files = OwnFiles(home)
        pulled = OllamaStore(home, Source.PULLED)
        self._unregistered = UnregisteredModels(home / "models", (pulled, *stores))
        self._scan_lock = threading.Lock()  # Taken before the other locks, never while one is held.
        self._lock = threading.Lock()  # For the entries.
        self._models_lock = threading.Lock()
        self._entries = {key_of(entry.name): entry for entry in load_entries(self._file)}
        self._found: dict[str, Entry] = {}
        self._models: OrderedDict[Path, tuple[Model, str]] = OrderedDict()
        self._summaries = Summaries(home / "summaries.json")
        self.rescan()

    def get(self, name: str) -> Entry:
        """The entry of a name. A name without a tag also finds the only model that has that name with a tag.

        Raises InvalidModelName, ModelNotFound.
        """
        wanted = parse_name(name)
        tagged = ":" in name.rpartition("/")[2]
        entry = self._lookup(wanted, tagged=tagged)
        if entry is None or (entry.source is not Source.CATALOGUE and not entry.path.exists()):
            self.rescan()
            entry = self._lookup(wanted, tagged=tagged)
        if entry is None:
            raise self._not_found(key_of(str(wanted)), name)
        return entry

    def open(self, name: str) -> Model:
        """The model, read again if its files have changed.

        Raises InvalidModelName, ModelNotFound, ModelFileError and UnsupportedModel.
        """
        return self.model(self.get(name))

    def model(self, entry: Entry) -> Model:
        """The model of an entry. Raises ModelFileError and UnsupportedModel."""
        model, digest = self._read(entry.path)
        overrides = entry.overrides
        return replace(
            model,
            name=entry.name,
            digest=model_digest(digest, overrides),
            capabilities=templated(model.capabilities, overrides.template, overrides.template_style),
        )

    def add(self, path: Path, name: str = "") -> list[ModelSummary]:
        """Register a file, or all models below a folder; registering the same again changes nothing.

        Raises InvalidRequest, InvalidModelName, ModelFileError and UnsupportedModel.
        """
        path = _absolute(path)
        if not path.is_dir():
            return [self._add_file(path, name)]
        if name:
            raise InvalidRequest(f"{path} is a folder, so it cannot have the name {name!r}; leave the name out")
        summaries, left_out = self.add_folder(path)
        if not summaries:
            why = f": {left_out[0].reason}" if left_out else "; it must hold GGUF files"
            raise ModelFileError(f"no model was found in {path}{why}")
        return summaries

    def add_folder(self, path: Path, *, list_only: bool = False) -> tuple[list[ModelSummary], list[LeftOut]]:
        """Register all models below a folder, or only list them. Returns them, and what was left out with the reasons.

        Raises InvalidRequest.
        """
        scan = find_models(_absolute(path))
        summaries, left_out = [], list(scan.left_out)
        taken = self._known()
        for file in scan.models:
            try:
                if list_only:
                    summaries.append(self._listed(file, taken))
                else:
                    summaries.append(self._add_file(file, ""))
            except ModelFileError as error:
                left_out.append(LeftOut(str(file), str(error), isinstance(error, NoLanguageModel)))
        return summaries, left_out

    def unusable(self) -> list[ModelSummary]:
        """What the stores hold and hypura cannot use, with the reasons; as of the last list."""
        known = self._known()
        found = [item for key, item in self._unregistered.unusable().items() if key not in known]
        return [summarize_failure(name, Path(left.path), left.reason) for name, left in found]

    def put(self, name: str, path: Path, overrides: Overrides = NO_OVERRIDES, parent: str = "") -> Entry:
        """Register a file under a name, in place of what the catalogue has under that name.

        parent: the model that it is created from. Raises InvalidModelName, InvalidRequest, ModelFileError and
        UnsupportedModel; the catalogue is then unchanged.
        """
        path = first_part(_absolute(path))
        entry = Entry(full_name(name), path, overrides, parent=parent, made_seconds=time.time())
        self._read(path)
        with self._lock:
            before = self._entries.get(key_of(entry.name))
            self._save({**self._entries, key_of(entry.name): entry})
        if before is not None:
            self._delete_unused([before.path])
        return entry

    def list(self) -> list[ModelSummary]:
        """All models by name; a model that cannot be read is listed with its error.

        Other files in stores, such as adapters, are not listed.
        """
        self.rescan()
        entries = sorted(self._known().values(), key=lambda entry: entry.name)
        summaries = [summary for entry in entries if (summary := self._summary(entry)) is not None]
        self._summaries.save(entry.path for entry in entries)
        return summaries

    def summary(self, name: str) -> ModelSummary:
        """One model's line of the list. Raises InvalidModelName, ModelNotFound."""
        entry = self.get(name)
        return self._summary(entry) or summarize_failure(entry.name, entry.path, "it is not a language model")

    def removable(self, name: str) -> Entry:
        """The entry, if it may be removed. Raises as remove does."""
        entry = self.get(name)
        if entry.source not in (Source.CATALOGUE, Source.PULLED):
            raise InvalidRequest(_not_ours(entry))
        return entry

    def remove(self, name: str) -> Entry:
        """Remove a model, and delete the files that hypura itself fetched for it and no other model needs.

        Raises InvalidModelName, ModelNotFound, InvalidRequest for models of other programs, and ModelFileError.
        """
        entry = self.removable(name)
        self._remove_entry(entry.name)
        freed = self._own_files.delete_manifest(parse_name(entry.name))
        self._delete_unused([entry.path, *freed])
        self.rescan()
        return entry

    def register_pulled_file(self, name: ModelName, path: Path) -> None:
        """Register a pulled file, or delete it if it is not a usable model. Raises ModelFileError, UnsupportedModel."""
        try:
            self.put(str(name), path)
        except ModelFileError:
            self._delete_unused([path])
            raise

    def register_pulled(self, name: ModelName, manifest: bytes, weights: Path, blobs: Sequence[Path]) -> None:
        """Register a pulled model in place of the one of that name. Raises ModelFileError and UnsupportedModel.

        If it is not usable, its blobs are deleted, unless another model needs them.
        """
        try:
            self._read(weights)
        except ModelFileError:
            self._delete_unused(blobs)
            raise
        freed = self._own_files.put_manifest(name, manifest)
        self._remove_entry(str(name))
        self._delete_unused(freed)
        self.rescan()

    def _remove_entry(self, name: str) -> None:
        with self._lock:
            if key_of(name) in self._entries:
                self._save({key: entry for key, entry in self._entries.items() if key != key_of(name)})

    def _delete_unused(self, freed: Iterable[Path]) -> None:
        with self._lock:
            used = [entry.path for entry in self._entries.values()]
        self._own_files.delete_unused(freed, used)

    def _save(self, entries: dict[str, Entry]) -> None:
        if len(entries) > MAX_MODELS:
            raise InvalidRequest(f"{MAX_MODELS} models are registered, the most there can be; remove some")
        save_entries(self._file, entries.values())
        self._entries = entries

    def _add_file(self, path: Path, name: str) -> ModelSummary:
        path = first_part(path)
        wanted = full_name(name) if name else ""
        self._read(path)
        with self._lock:
            known = {**self._found, **self._entries}
            if not wanted:
                same = next((entry for entry in known.values() if entry.path == path), None)
                if same is not None:
                    return summarize(self.model(same))
                wanted = free_name(path, known)
            taken = known.get(key_of(wanted))
            if taken is not None and taken.path != path:
                raise InvalidRequest(
                    f"the name {taken.name} already stands for {taken.path}; give {path} another with --name, "
                    f"or remove the old one with: hypuractl rm {taken.name}"
                )
            entry = taken or Entry(wanted, path)
            if taken is None:
                self._save({**self._entries, key_of(wanted): entry})
        return summarize(self.model(entry))

    def _listed(self, path: Path, taken: dict[str, Entry]) -> ModelSummary:
        """A file's summary under the name that it has or would get; that name is added to `taken`."""
        path = first_part(path)
        model, _ = self._read(path)
        entry = next((entry for entry in taken.values() if entry.path == path), None)
        if entry is None:
            entry = Entry(free_name(path, taken), path)
            taken[key_of(entry.name)] = entry
        return summarize(replace(model, name=entry.name))

    def _lookup(self, wanted: ModelName, *, tagged: bool) -> Entry | None:
        known = self._known()
        entry = known.get(key_of(str(wanted)))
        if entry is not None or tagged:
            return entry
        stem = key_of(str(wanted).rpartition(":")[0])
        same = [other for key, other in known.items() if key.rpartition(":")[0] == stem]
        return same[0] if len(same) == 1 else None

    def _known(self) -> dict[str, Entry]:
        with self._lock:
            return {**self._found, **self._entries}

    def _not_found(self, key: str, requested: str) -> ModelNotFound:
        unusable = self._unregistered.unusable().get(key)
        if unusable is not None:
            return ModelNotFound(f"{unusable[0]} exists, but cannot be used: {unusable[1].reason}", requested)
        names = {known: entry.name for known, entry in self._known().items()}
        close = [other for other in names if other.rpartition(":")[0] == key.rpartition(":")[0]]
        close += [other for other in difflib.get_close_matches(key, names, n=3, cutoff=0.5) if other not in close]
        if close:
            hint = f"did you mean {' or '.join(names[other] for other in close[:3])}?"
        else:
            hint = "see hypuractl models, or add a file with: hypuractl add PATH"
        return ModelNotFound(f"no model is called {key}; {hint}", requested)

    def rescan(self) -> None:
        """Search again for models that are not registered; `list` does so itself."""
        with self._scan_lock:
            with self._lock:
                registered = self._entries
            found = self._unregistered.find(registered)
            with self._lock:
                self._found = found

    def _summary(self, entry: Entry) -> ModelSummary | None:
        kept = self._summaries.get(entry.path)
        if kept is None:
            try:
                kept = _summarized(*self._read(entry.path))
            except ModelFileError as error:
                failure = summarize_failure(entry.name, entry.path, str(error))
                kept = Summarized(_file_state(entry.path), failure, "", not isinstance(error, NoLanguageModel))
                self._summaries.put(entry.path, kept)
        if not kept.is_model and entry.source not in (Source.CATALOGUE, Source.FOLDER):
            return None
        digest = model_digest(kept.digest, entry.overrides) if kept.digest else ""
        overrides = entry.overrides
        return replace(
            kept.summary,
            name=entry.name,
            path=entry.path,
            digest=digest,
            parent=entry.parent,
            modified_seconds=entry.made_seconds or kept.summary.modified_seconds,
            capabilities=templated(kept.summary.capabilities, overrides.template, overrides.template_style),
        )

    def _read(self, path: Path) -> tuple[Model, str]:
        """The model of a path, without a name, and its files' digest; from memory while the files are unchanged."""
        with self._models_lock:
            kept = self._models.get(path)
        if kept is None or not unchanged(kept[0].files):
            model = open_model(path, "")
            kept = (model, files_digest(model.files))
        with self._models_lock:
            self._models[path] = kept
            self._models.move_to_end(path)
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._summaries.put(path, _summarized(*kept))
        return kept


def _summarized(model: Model, digest: str) -> Summarized:
    return Summarized(model.files, summarize(model), digest)


def _not_ours(entry: Entry) -> str:
    """Why hypura does not remove an entry, and how to remove it otherwise."""
    match entry.source:
        case Source.DEMO:
            return f"{entry.name} comes with hypura and cannot be removed; another model may take its name"
        case Source.FOLDER:
            remedy = "move the file away to remove it"
            return f"{entry.name} is listed because {entry.path} is in the models folder; {remedy}"
        case Source.OLLAMA:
            remedy = f"remove it with: ollama rm {entry.name}"
        case Source.HUGGING_FACE:
            remedy = "remove it with: hf cache rm"
        case _:
            remedy = "remove it with that program"
    return f"{entry.name} belongs to {entry.source.value} ({entry.path}); hypura deletes only its own files, {remedy}"


def _absolute(path: Path) -> Path:
    """The path with links in its folders resolved. The file's own name is kept: it may name a part of a model."""
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


def _file_state(path: Path) -> tuple[ModelFile, ...]:
    """How an unreadable file can be recognized as changed; empty for a missing file, or one of several parts."""
    if part_of(path.name) is not None:
        return ()
    try:
        status = path.stat()
    except OSError:
        return ()
    return (ModelFile(path, status.st_size, status.st_mtime_ns, status.st_ino),)
