"""A memory cgroup for one measured process, where the system allows it.

v1   <memory mount>/<our cgroup>/hypura-bench-…                memory.limit_in_bytes
v2   the nearest parent that delegates the memory controller   memory.max
else a transient scope of the user's systemd                   MemoryMax
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_REMOVE_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_NAME = "hypura-bench-"
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True, slots=True)
class _Names:
    """A memory controller's files. no_swap: the file that forbids swapping, so that the limit holds, and its value."""

    limit: str
    peak: str
    no_swap: tuple[str, str]


_V1 = _Names("memory.limit_in_bytes", "memory.max_usage_in_bytes", ("memory.swappiness", "0"))
_V2 = _Names("memory.max", "memory.peak", ("memory.swap.max", "0"))


class NoCgroup(Exception):
    """No cgroup can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """A cgroup with a memory limit. prefix: put before a command to run it inside. kind: for people."""

    kind: str
    prefix: tuple[str, ...]
    folder: Path | None = None
    peak_name: str = ""

    def peak_bytes(self) -> int | None:
        """The most memory that was in use at once, page cache included; None if not known."""
        if self.folder is None:
            return None
        try:
            return int((self.folder / self.peak_name).read_text())
        except (OSError, ValueError):
            return None  # The first kernels with cgroup v2 have no memory.peak.

    def remove(self) -> None:
        """Removes it; the processes in it must have ended. A cgroup that stays busy is left behind."""
        if self.folder is None:
            return
        deadline = time.monotonic() + _REMOVE_SECONDS
        while True:
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    return
                time.sleep(_PAUSE_SECONDS)  # The kernel empties it a moment after its last process ended.


def make(
    container_limit_bytes: int, process: Path = Path("/proc/self"), environ: dict[str, str] | None = None
) -> MemoryCgroup:
    """A new cgroup that allows container_limit_bytes of memory and no swap. Raises NoCgroup with the reasons."""
    reasons: list[str] = []
    for names, parent in _parents(process):
        _remove_leftovers(parent)
        folder = parent / f"{_NAME}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(f"{folder.parent} cannot be written ({error.strerror})")
            continue
        group = MemoryCgroup("v1" if names is _V1 else "v2", ("sh", "-c", _ENTER, str(folder)), folder, names.peak)
        try:
            (folder / names.limit).write_text(str(container_limit_bytes))
            name, value = names.no_swap
            if (folder / name).exists():
                (folder / name).write_text(value)
            return group
        except OSError as error:
            group.remove()
            reasons.append(f"{folder.parent} takes no limit ({error.strerror})")
    environ = dict(os.environ) if environ is None else environ
    if shutil.which("systemd-run") and Path(environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "systemd/private").exists():
        limits = ("-p", f"MemoryMax={container_limit_bytes}", "-p", "MemorySwapMax=0")
        return MemoryCgroup(
            "systemd scope", ("systemd-run", "--user", "--scope", "--quiet", "--collect", *limits, "--")
        )
    raise NoCgroup("; ".join(reasons) or "this system has no memory cgroups")


def _remove_leftovers(parent: Path) -> None:
    """Removes the cgroups that killed benchmarks left behind; those of running benchmarks are kept."""
    for folder in parent.glob(f"{_NAME}*-*"):
        number = folder.name.removeprefix(_NAME).partition("-")[0]
        if number.isdecimal() and not Path("/proc", number).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _parents(process: Path) -> list[tuple[_Names, Path]]:
    """The cgroups in which a child with a memory limit may be made, the nearest first."""
    try:
        memberships = (process / "cgroup").read_text(errors="surrogateescape").splitlines()
        mounts = (process / "mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    found: list[tuple[_Names, Path]] = []
    for line in memberships:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for mount in mounts:
            before, _, after = mount.partition(" - ")
            fields, tail = before.split(" "), after.split(" ")
            if len(fields) < 5 or len(tail) < 3:
                continue
            root, point = fields[3], Path(fields[4])
            if "memory" in controllers.split(",") and tail[0] == "cgroup" and "memory" in tail[2].split(","):
                found.append((_V1, _levels(point, root, path)[0]))
            elif controllers == "" and tail[0] == "cgroup2":
                # A v2 cgroup that has processes of its own cannot limit children; only its parents can.
                found += [(_V2, level) for level in _levels(point, root, path) if _delegates_memory(level)]
    return found


def _delegates_memory(level: Path) -> bool:
    try:
        return "memory" in (level / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False


def _levels(point: Path, root: str, path: str) -> list[Path]:
    """The folders of a cgroup and of its parents; for a cgroup that is not mounted here, the mount."""
    try:
        relative = PurePosixPath(path).relative_to(root)
    except ValueError:
        relative = PurePosixPath()
    if ".." in relative.parts:
        relative = PurePosixPath()
    levels = [point.joinpath(*relative.parts[:depth]) for depth in range(len(relative.parts), -1, -1)]
    return [level for level in levels if level.is_dir()] or [point]
