"""A Linux process's container limits, from the cgroups that it is in.

Limits of all levels between the process's own cgroup and the root apply, so each level is read and the tightest limit
is used. Both versions of cgroups are read: a machine may mount them side by side.

    /proc/self/cgroup     5:memory:/user/job          0::/user/job
    /proc/self/mountinfo  … /sys/fs/cgroup/memory …   … /sys/fs/cgroup - cgroup2 …
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _MemoryNames:
    """A memory controller's files; reclaimable: the page cache in memory.stat, which is freed on demand."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]


_V1 = _MemoryNames(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
# Above memory.high a process is not killed but slowed down until it is useless.
_V2 = _MemoryNames(("memory.max", "memory.high"), "memory.current", ("active_file", "inactive_file"))


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """The tightest memory limit, and the least available memory at any level; None without a limit.

    container_limit_bytes: here the cgroups' limit alone, which may be more than the installed memory; platform.Memory
    has the smaller of the two.
    """

    container_limit_bytes: int | None
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class MountLine:
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    root: str
    point: str
    filesystem: str
    source: str
    options: tuple[str, ...]


def read_mounts(mountinfo: Path) -> list[MountLine]:
    """The mounts that a mountinfo file lists, in their order."""
    mounts = []
    for line in mountinfo.read_text(errors="surrogateescape").splitlines():
        before, dash, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(tail) < 2:
            continue
        options = tuple(tail[2].split(",")) if len(tail) > 2 else ()
        mounts.append(MountLine(_plain(fields[3]), _plain(fields[4]), tail[0], _plain(tail[1]), options))
    return mounts


def cgroup_memory(process: Path = Path("/proc/self")) -> CgroupMemory:
    """Memory limits of the process whose /proc folder this is."""
    limits: list[int] = []
    left: list[int] = []
    for level in cgroup_levels(process, "memory"):
        names = _V1 if (level / _V1.limits[0]).exists() else _V2
        found = [limit for name in names.limits if (limit := _number(level / name)) is not None]
        if not found:
            continue
        limits.append(min(found))
        usage_bytes = _number(level / names.usage)
        if usage_bytes is not None:
            statistics = _statistics(level / "memory.stat")
            cache_bytes = sum(statistics.get(name, 0) for name in names.reclaimable)
            left.append(max(0, min(found) - max(0, usage_bytes - cache_bytes)))
    return CgroupMemory(min(limits, default=None), min(left, default=None))


def cgroup_oom_kills(process: Path = Path("/proc/self")) -> int | None:
    """How many processes of the process's own cgroup were killed for lack of memory; None if unknown."""
    for level in cgroup_levels(process, "memory"):
        for name in ("memory.oom_control", "memory.events"):
            if (kills := _statistics(level / name).get("oom_kill")) is not None:
                return kills
    return None


def cgroup_cpu_quota(process: Path = Path("/proc/self")) -> float | None:
    """The processor time that the process may use, in cores; None without a limit."""
    quotas: list[float] = []
    for level in cgroup_levels(process, "cpu"):
        quota, period = _number(level / "cpu.cfs_quota_us"), _number(level / "cpu.cfs_period_us")
        if quota is None:
            fields = (_text(level / "cpu.max") or "max").split()
            if len(fields) == 2 and all(field.isdecimal() for field in fields):
                quota, period = int(fields[0]), int(fields[1])
        if quota is not None and period is not None and quota > 0 and period > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def cgroup_levels(process: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's cgroup and all that enclose it, as far as they are mounted here.

    Empty if there are no cgroups. For a cgroup outside of the mount (a container that sees the host's paths) the mount
    itself is used, which is then the container's own.
    """
    if not (process / "cgroup").exists() or not (process / "mountinfo").exists():
        return
    mounts = read_mounts(process / "mountinfo")
    for line in (process / "cgroup").read_text(errors="surrogateescape").splitlines():
        hierarchy, colon, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if not colon or not second:
            continue
        for mount in mounts:
            unified = hierarchy == "0" and controllers == "" and mount.filesystem == "cgroup2"
            if not unified and not (
                controller in controllers.split(",") and mount.filesystem == "cgroup" and controller in mount.options
            ):
                continue
            top = Path(mount.point)
            yield from _upwards(top, _below(path, mount.root))
            break


def _below(path: str, root: str) -> PurePosixPath:
    """A cgroup's path relative to the mount; "." if it is elsewhere."""
    try:
        relative = PurePosixPath(path).relative_to(root)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in relative.parts else relative


def _upwards(top: Path, relative: PurePosixPath) -> Iterator[Path]:
    for depth in range(len(relative.parts), -1, -1):
        folder = top.joinpath(*relative.parts[:depth])
        if folder.is_dir():
            yield folder


def _number(path: Path) -> int | None:
    """The file's integer; None if there is no file, or it says "max" or -1."""
    text = _text(path)
    return int(text) if text is not None and text.isdecimal() else None


def _statistics(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in (_text(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None  # No such limit at this level, or none that is visible.


def _plain(text: str) -> str:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
