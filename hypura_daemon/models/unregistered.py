"""Models that are not registered but found: in the home's models folder, among the pulled ones, and in stores."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import structlog

from hypura_daemon.models.catalogue import Entry, Source
from hypura_daemon.models.names import name_for
from hypura_daemon.models.stores.folder import LeftOut, find_models
from hypura_daemon.models.stores.scanning import Store, WatchedStore

_log = structlog.get_logger()


class UnregisteredModels:
    """Searches when `find` is called; for one thread at a time."""

    def __init__(self, folder: Path, stores: Sequence[Store]) -> None:
        self._folder = folder
        self._stores = tuple(WatchedStore(store) for store in stores)
        self._logged_reasons: frozenset[str] = frozenset()

    def find(self, registered: Mapping[str, Entry]) -> dict[str, Entry]:
        """The models there now, by key. Of one name the models folder's wins, then the first store's."""
        found = self._in_folder(registered)
        for store in self._stores:
            for entry in store.entries():
                found.setdefault(key_of(entry.name), entry)
        return found

    def unusable(self) -> dict[str, tuple[str, LeftOut]]:
        """What the stores hold and hypura cannot use, by key: the name and the reason, as of the last search."""
        found: dict[str, tuple[str, LeftOut]] = {}
        for store in self._stores:
            for name, left in store.unusable.items():
                found.setdefault(key_of(name), (name, left))
        return found

    def _in_folder(self, registered: Mapping[str, Entry]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        if not self._folder.is_dir():
            return found
        scan = find_models(self._folder.resolve())
        paths = {entry.path for entry in registered.values()}
        for path in scan.models:
            if path not in paths:
                name = free_name(path, {*found, *registered})
                found[key_of(name)] = Entry(name, path, source=Source.FOLDER)
        for left in scan.left_out:
            if left.reason not in self._logged_reasons:
                _log.warning("a file in the models folder is left out", reason=left.reason)
        self._logged_reasons = frozenset(left.reason for left in scan.left_out)
        return found


def key_of(name: str) -> str:
    """The key of a full name: names are compared without regard to case."""
    return name.lower()


def free_name(path: Path, taken: Collection[str]) -> str:
    """A name made from the file's, with a number where it is taken: many folders hold a model.gguf."""
    made = name_for(path)
    stem, _, tag = made.rpartition(":")
    name, number = made, 1
    while key_of(name) in taken:
        number += 1
        name = f"{stem}-{number}:{tag}"
    return name
