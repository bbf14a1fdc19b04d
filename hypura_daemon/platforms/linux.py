"""Linux: implements platform.Platform."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from hypura_daemon.platforms.cgroups import cgroup_cpu_quota, cgroup_memory, cgroup_oom_kills, read_mounts
from hypura_daemon.platforms.platform import Alignment, Memory, Mount, Pressure

# They accept O_DIRECT (tmpfs since Linux 6.6), but read from memory.
_MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs", "hugetlbfs", "devtmpfs"})
_USUAL_ALIGNMENT = Alignment(4096, 4096)

_STALLED_PERCENT = 10.0

# statx(2), linux/stat.h: DIOALIGN is known since Linux 6.1.
_AT_FDCWD = -100
_STATX_DIOALIGN = 0x2000
_STATX_BYTES = 256
_MASK_OFFSET, _MEMORY_ALIGN_OFFSET, _OFFSET_ALIGN_OFFSET = 0, 0x98, 0x9C


@dataclass(frozen=True, slots=True)
class Linux:
    """Reads /proc, or a folder that looks like it."""

    proc: Path = Path("/proc")

    def cpu_name(self) -> str:
        """The first "model name"; the machine's type on ARM, whose kernels give none."""
        for line in (self.proc / "cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
        return os.uname().machine

    def physical_cores(self) -> int:
        """All logical cores where virtual machines or containers do not say."""
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1

    def usable_cores(self) -> int:
        """By the affinity mask and whole cores of the cgroups' quota: more threads would be throttled."""
        cores = len(os.sched_getaffinity(0))
        quota = cgroup_cpu_quota(self.proc / "self")
        return cores if quota is None else max(1, min(cores, int(quota)))

    def memory(self) -> Memory:
        """From /proc/meminfo, within the cgroups' limits where these are less than the installed memory."""
        fields = _kilobyte_fields(self.proc / "meminfo")
        total = fields["MemTotal"]
        container = cgroup_memory(self.proc / "self")
        limit = total if container.container_limit_bytes is None else min(total, container.container_limit_bytes)
        available = min(fields.get("MemAvailable", fields.get("MemFree", 0)), limit)
        if container.available_bytes is not None:
            available = min(available, container.available_bytes)
        return Memory(total, limit, available)

    def pressure(self) -> Pressure:
        """By the time that processes waited for memory (PSI), averaged over ten seconds."""
        try:
            lines = (self.proc / "pressure/memory").read_text().splitlines()
        except OSError:
            return Pressure.CALM  # A kernel without PSI.
        waiting = {line.split(" ", 1)[0]: _percent(line) for line in lines}
        if waiting.get("full", 0.0) >= _STALLED_PERCENT:
            return Pressure.CRITICAL
        return Pressure.TIGHT if waiting.get("some", 0.0) >= _STALLED_PERCENT else Pressure.CALM

    def unwritten_bytes(self) -> int:
        """Dirty pages, and those that are being written."""
        fields = _kilobyte_fields(self.proc / "meminfo")
        return fields.get("Dirty", 0) + fields.get("Writeback", 0)

    def page_bytes(self) -> int:
        """From the C library."""
        return os.sysconf("SC_PAGE_SIZE")

    def boot_id(self) -> str:
        """The kernel's random number for this boot."""
        return (self.proc / "sys/kernel/random/boot_id").read_text().strip()

    def rss_bytes(self, pid: int) -> int:
        """VmRSS; a zombie has none, so 0."""
        return self._status(pid).get("VmRSS", 0)

    def peak_rss_bytes(self, pid: int) -> int | None:
        """VmHWM."""
        return self._status(pid).get("VmHWM", 0)

    def oom_kills(self) -> int:
        """The cgroup's count; without one, the machine's (since Linux 4.13)."""
        kills = cgroup_oom_kills(self.proc / "self")
        if kills is not None:
            return kills
        try:
            lines = (self.proc / "vmstat").read_text().splitlines()
        except OSError:
            return 0
        return next((int(n) for name, _, n in (line.partition(" ") for line in lines) if name == "oom_kill"), 0)

    def await_exit(self, pid: int) -> None:
        """waitid(2) with WNOWAIT."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    def most_descriptors(self) -> int:
        """fs.nr_open."""
        return int((self.proc / "sys/fs/nr_open").read_text())

    def mount_of(self, path: Path) -> Mount:
        """The longest mount point above the path; of equal ones the last, which hides the others."""
        real = path.resolve()
        best = Mount("/", "", "")
        for mount in read_mounts(self.proc / "self/mountinfo"):
            if real.is_relative_to(mount.point) and len(mount.point) >= len(best.point):
                best = Mount(mount.point, mount.source, mount.filesystem)
        return best

    def direct_alignment(self, path: Path) -> Alignment | None:
        """STATX_DIOALIGN; 4096 if the kernel or the file system does not say."""
        if self.mount_of(path).filesystem in _MEMORY_FILESYSTEMS:
            return None
        given = statx_direct_alignment(path)
        if given is None:
            return _USUAL_ALIGNMENT
        return given if given.offset_bytes and given.memory_bytes else None

    def open_direct(self, path: Path) -> int:
        """With O_DIRECT; EINVAL if the file system does not support it."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)

    def _status(self, pid: int) -> dict[str, int]:
        try:
            return _kilobyte_fields(self.proc / str(pid) / "status")
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessLookupError(f"there is no process {pid}") from error


def statx_direct_alignment(path: Path) -> Alignment | None:
    """The file system's alignment for direct reads, zeros if it has none; None if it does not say.

    Raises OSError if the file cannot be examined.
    """
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if statx is None:
        return None  # The C library is older than statx.
    buffer = (ctypes.c_uint8 * _STATX_BYTES)()
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_DIOALIGN, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))

    def field(offset: int) -> int:
        return ctypes.c_uint32.from_buffer(buffer, offset).value

    if not field(_MASK_OFFSET) & _STATX_DIOALIGN:
        return None
    return Alignment(field(_OFFSET_ALIGN_OFFSET), field(_MEMORY_ALIGN_OFFSET))


def _percent(line: str) -> float:
    """avg10 of a line such as "some avg10=1.23 avg60=0.40 avg300=0.08 total=4711"; 0 where there is none."""
    fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
    try:
        return float(fields.get("avg10", "0"))
    except ValueError:
        return 0.0


def _kilobyte_fields(path: Path) -> dict[str, int]:
    """Lines such as "MemTotal: 1024 kB", in bytes."""
    fields = {}
    for line in path.read_text(errors="replace").splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[2] == "kB" and parts[1].isdecimal():
            fields[parts[0].removesuffix(":")] = int(parts[1]) * 1024
    return fields
