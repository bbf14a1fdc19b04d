"""macOS: implements platform.Platform with its command line tools."""

import fcntl
import os
import re
import resource
import select
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hypura_daemon.platforms.platform import Alignment, Memory, Mount, Pressure

Runner = Callable[[Sequence[str]], str]

_F_NOCACHE = 48  # sys/fcntl.h; Python's fcntl has the name on macOS alone
_TOOL_SECONDS = 10.0
_FILTER_PROCESS, _ADD_ONCE, _NOTE_EXIT = -5, 0x0001 | 0x0010, 0x80000000  # sys/event.h
_OPEN_MAX = 10240  # sys/syslimits.h
_OFFSET_ALIGNMENT_BYTES = 4096
_MOUNT_LINE = re.compile(r"(?P<device>.*?) on (?P<point>.*) \((?P<filesystem>[^,)]*)[,)]")
_VM_PAGES = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")


def run_tool(command: Sequence[str]) -> str:
    """The command's standard output. Raises OSError if it fails."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TOOL_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
    except subprocess.SubprocessError as error:
        raise OSError(f"{error}; it is needed to examine this machine") from error


@dataclass(frozen=True, slots=True)
class MacOS:
    """Runs sysctl, vm_stat, df and mount by `run`."""

    run: Runner = run_tool

    def cpu_name(self) -> str:
        """Such as "Apple M3 Max"."""
        return self._sysctl("machdep.cpu.brand_string") or os.uname().machine

    def physical_cores(self) -> int:
        """Fast and efficient cores together."""
        return int(self._sysctl("hw.physicalcpu") or 0) or os.cpu_count() or 1

    def usable_cores(self) -> int:
        """The fast cores: all cores would wait for an efficient one at the end of each operation."""
        return int(self._sysctl("hw.perflevel0.logicalcpu") or self._sysctl("hw.logicalcpu") or 1)

    def memory(self) -> Memory:
        """There are no containers: container_limit_bytes is the installed memory."""
        total = int(self.run(("sysctl", "-n", "hw.memsize")))
        text = self.run(("vm_stat",))
        size = re.search(r"page size of (\d+) bytes", text)
        page_bytes = int(size[1]) if size else self.page_bytes()
        pages = 0
        for name in _VM_PAGES:
            found = re.search(rf"^{name}:\s+(\d+)\.?$", text, re.MULTILINE)
            pages += int(found[1]) if found else 0
        return Memory(total, total, min(total, pages * page_bytes))

    def pressure(self) -> Pressure:
        """The level that the kernel reports: 1 is normal, 2 a warning, 4 critical."""
        level = self._sysctl("kern.memorystatus_vm_pressure_level")
        return {"2": Pressure.TIGHT, "4": Pressure.CRITICAL}.get(level or "", Pressure.CALM)

    def unwritten_bytes(self) -> int:
        """The kernel does not say."""
        return 0

    def page_bytes(self) -> int:
        """16 KiB on Apple silicon."""
        return int(self._sysctl("hw.pagesize") or os.sysconf("SC_PAGE_SIZE"))

    def boot_id(self) -> str:
        """The UUID of this boot, or its time."""
        return self._sysctl("kern.bootsessionuuid") or self._sysctl("kern.boottime") or ""

    def rss_bytes(self, pid: int) -> int:
        """From psutil."""
        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(f"there is no process {pid}") from error

    def peak_rss_bytes(self, pid: int) -> int | None:
        """Known only for this process, from getrusage, which counts bytes on macOS."""
        if pid == os.getpid():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.rss_bytes(pid)  # raises when there is no such process
        return None

    def oom_kills(self) -> int:
        """macOS kills processes for lack of memory too, but does not count them."""
        return 0

    def await_exit(self, pid: int) -> None:
        """With a kernel queue: Python has no waitid on macOS before 3.13. It refuses processes that have ended."""
        queue = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
        try:
            watched = select.kevent(  # type: ignore[attr-defined,unused-ignore]
                pid, _FILTER_PROCESS, _ADD_ONCE, _NOTE_EXIT
            )
            queue.control([watched], 1)
        except ProcessLookupError:
            return
        finally:
            queue.close()

    def most_descriptors(self) -> int:
        """setrlimit refuses more than this, although the hard limit is unlimited; OPEN_MAX if it is unknown."""
        return int(self._sysctl("kern.maxfilesperproc") or _OPEN_MAX)

    def mount_of(self, path: Path) -> Mount:
        """From df, which follows APFS's firm links (/Users is on the Data volume)."""
        lines = self.run(("df", "-P", str(path.resolve()))).splitlines()
        fields = lines[1].split(None, 5) if len(lines) > 1 else []
        if len(fields) < 6:
            return Mount("/", "", "")
        device, point = fields[0], fields[5]
        for line in self.run(("mount",)).splitlines():
            found = _MOUNT_LINE.match(line)
            if found and found["point"] == point:
                return Mount(point, device, found["filesystem"])
        return Mount(point, device, "")

    def direct_alignment(self, path: Path) -> Alignment | None:
        """F_NOCACHE accepts any read, but only whole pages bypass the cache."""
        return Alignment(_OFFSET_ALIGNMENT_BYTES, self.page_bytes())

    def open_direct(self, path: Path) -> int:
        """With F_NOCACHE."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.fcntl(descriptor, _F_NOCACHE, 1)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _sysctl(self, name: str) -> str | None:
        """None for a name that this machine lacks: Intel has no hw.perflevel0."""
        try:
            return self.run(("sysctl", "-n", name)).strip() or None
        except OSError:
            return None
