"""What a store of models is, and how its folders are scanned: within bounds, inside its root, and only if changed."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from hypura_daemon.models.catalogue import Entry, Source
from hypura_daemon.models.stores.folder import MAX_MODELS, MAX_SEEN, LeftOut

_SETTLED_NANOSECONDS = 2_000_000_000
"""A folder can change again within the tick of its file system's clock (2 s on FAT) without a new time."""

Stamp = tuple[int, int, int] | None
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreScan:
    """What a store holds, what was left out, in words, and the stamps by which changes are noticed."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    stamps: Mapping[Path, Stamp] | None = None
    unusable: Mapping[str, LeftOut] = field(default_factory=dict)
    """Models that it holds and hypura cannot use, by name."""


class Store(Protocol):
    """A place that holds models."""

    @property
    def source(self) -> Source:
        """Whose store it is."""
        ...

    def scan(self) -> StoreScan:
        """Read its folders. A missing store is empty; no content of a store is fatal."""
        ...


class FolderScanner:
    """One scan of the folders below `root`; keeps the stamp of every file and folder that matters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamps: dict[Path, Stamp] = {}
        self.left_out: list[str] = []
        self.unusable: dict[str, LeftOut] = {}
        self._seen = 0
        self._real = os.path.realpath(root)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; empty if it cannot be read. Skips hidden and non-UTF-8 names."""
        self.stamp(folder)
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.left_out.append(f"{folder} cannot be read: {error.strerror}")
            return []
        self._seen += len(names)
        if self._seen > MAX_SEEN:
            self.left_out.append(f"{self.root} holds more than {MAX_SEEN} files; the rest is not scanned")
            return []
        return [name for name in names if not name.startswith(".") and name.isprintable() and _is_utf8(name)]

    def stamp(self, path: Path) -> Stamp:
        """The path's stamp, which is kept; None if the path does not exist."""
        self.stamps[path] = stamp = stamp_of(path)
        return stamp

    def inside(self, path: Path) -> bool:
        """Whether the path, its links followed, is below the root; if not, it is noted as left out."""
        real = os.path.realpath(path)
        if real.startswith(self._real + os.sep):
            return True
        self.left_out.append(f"{path} is a link that leads out of {self.root}")
        return False

    def done(self, entries: list[Entry]) -> StoreScan:
        """The result of the scan."""
        if len(entries) > MAX_MODELS:
            self.left_out.append(f"{self.root} holds {len(entries)} models; {MAX_MODELS} are listed")
        return StoreScan(tuple(entries[:MAX_MODELS]), tuple(self.left_out), self.stamps, self.unusable)


class WatchedStore:
    """A store with its last scan; it is scanned again only when something in it has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: StoreScan | None = None
        self._settled = False
        self._logged_reasons: frozenset[str] = frozenset()

    @property
    def unusable(self) -> Mapping[str, LeftOut]:
        """What it held at the last scan and hypura cannot use."""
        return self._last.unusable if self._last is not None else {}

    def entries(self) -> tuple[Entry, ...]:
        """The models that it holds now."""
        if self._last is None or not self._settled or not _unchanged(self._last.stamps or {}):
            started_nanoseconds = time.time_ns()
            self._last = self._store.scan()
            stamps = [stamp[0] for stamp in (self._last.stamps or {}).values() if stamp is not None]
            self._settled = max(stamps, default=0) < started_nanoseconds - _SETTLED_NANOSECONDS
            for reason in self._last.left_out:
                if reason not in self._logged_reasons:
                    _log.warning("left out of a store of models", store=self._store.source.value, reason=reason)
            self._logged_reasons = frozenset(self._last.left_out)
        return self._last.entries


def stamp_of(path: Path) -> Stamp:
    """Time, size and inode of a path; None if the path does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unchanged(stamps: Mapping[Path, Stamp]) -> bool:
    return all(stamp_of(path) == stamp for path, stamp in stamps.items())


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
