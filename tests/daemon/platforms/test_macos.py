"""macOS: which of the system's tools are run, and how their output is understood."""

import os
import select
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from hypura_daemon.platforms.macos import MacOS, run_tool
from hypura_daemon.platforms.platform import Alignment, Memory, Mount, Pressure

VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               100000.
Pages active:                             900000.
Pages inactive:                           200000.
Pages speculative:                         30000.
Pages throttled:                               0.
Pages wired down:                         150000.
Pages purgeable:                            4000.
"Translation faults":                 1234567890.
"""
DF = """Filesystem   512-blocks      Used Available Capacity  Mounted on
/dev/disk3s5 1942700360 900000000 900000000    51%    /Volumes/My Models
"""
MOUNT = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /Volumes/My Models (apfs, local, journaled, nobrowse)
"""
SYSCTL = {
    "machdep.cpu.brand_string": "Apple M3 Max",
    "hw.physicalcpu": "16",
    "hw.perflevel0.logicalcpu": "12",
    "hw.logicalcpu": "16",
    "hw.memsize": "68719476736",
    "hw.pagesize": "16384",
    "kern.bootsessionuuid": "6B7A0E0C-0000-4000-8000-000000000000",
}


class Tools:
    """Answers as macOS's tools do, and remembers the commands."""

    def __init__(self, sysctl: dict[str, str]) -> None:
        self.sysctl = sysctl
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, command: Sequence[str]) -> str:
        self.asked.append(tuple(command))
        match tuple(command):
            case ("sysctl", "-n", name):
                if name not in self.sysctl:
                    raise OSError(f"unknown oid '{name}'")
                return self.sysctl[name] + "\n"
            case ("vm_stat",):
                return VM_STAT
            case ("df", "-P", _):
                return DF
            case ("mount",):
                return MOUNT
        raise AssertionError(f"{command} is not to be run")


def test_apple_silicon() -> None:
    mac = MacOS(Tools(SYSCTL))
    assert mac.cpu_name() == "Apple M3 Max"
    assert (mac.physical_cores(), mac.usable_cores()) == (16, 12)
    assert mac.page_bytes() == 16384
    assert mac.boot_id().startswith("6B7A0E0C")
    assert mac.memory() == Memory(68719476736, 68719476736, 334000 * 16384)


def test_intel_has_one_kind_of_core() -> None:
    mac = MacOS(Tools({"hw.logicalcpu": "8", "hw.pagesize": "4096", "kern.boottime": "{ sec = 1 }"}))
    assert mac.usable_cores() == 8
    assert mac.page_bytes() == 4096
    assert mac.boot_id() == "{ sec = 1 }"
    assert mac.cpu_name() == os.uname().machine


def test_the_mount_comes_from_df_and_its_type_from_mount(tmp_path: Path) -> None:
    tools = Tools(SYSCTL)
    assert MacOS(tools).mount_of(tmp_path) == Mount("/Volumes/My Models", "/dev/disk3s5", "apfs")
    assert tools.asked == [("df", "-P", str(tmp_path.resolve())), ("mount",)]


def test_direct_reads_need_whole_pages() -> None:
    assert MacOS(Tools(SYSCTL)).direct_alignment(Path("/")) == Alignment(4096, 16384)


def test_direct_reads_are_asked_of_the_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"abc")
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr("fcntl.fcntl", lambda *arguments: calls.append(arguments))
    descriptor = MacOS(Tools(SYSCTL)).open_direct(file)
    try:
        assert calls == [(descriptor, 48, 1)]
        assert os.read(descriptor, 3) == b"abc"
    finally:
        os.close(descriptor)


def test_memory_of_a_process_and_of_a_missing_one() -> None:
    mac = MacOS(Tools(SYSCTL))
    assert mac.rss_bytes(os.getpid()) > 0
    assert mac.peak_rss_bytes(os.getpid()) is not None
    assert mac.peak_rss_bytes(os.getppid()) is None
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(ProcessLookupError, match="no process"):
        mac.peak_rss_bytes(process.pid)


def test_a_tool_that_fails_or_is_missing_is_an_os_error() -> None:
    assert run_tool(("echo", "apfs")) == "apfs\n"
    with pytest.raises(OSError, match="false"):
        run_tool(("false",))
    with pytest.raises(FileNotFoundError):
        run_tool(("no-such-tool-of-hypura",))


def test_the_kernel_says_how_short_memory_is() -> None:
    level = "kern.memorystatus_vm_pressure_level"
    assert MacOS(Tools(SYSCTL)).pressure() is Pressure.CALM
    levels = {"1": Pressure.CALM, "2": Pressure.TIGHT, "4": Pressure.CRITICAL}
    assert {number: MacOS(Tools({level: number})).pressure() for number in levels} == levels


class Queue:
    """A kernel queue that reports at once, or does not know the process."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.watched: list[tuple[int, ...]] = []
        self.closed = False

    def control(self, changes: list[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
        assert count == 1
        self.watched = changes
        if self.error is not None:
            raise self.error
        return changes

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("error", [None, ProcessLookupError()])
def test_the_end_of_a_child_is_watched_by_a_kernel_queue(
    error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(error)
    monkeypatch.setattr(select, "kqueue", lambda: queue, raising=False)
    monkeypatch.setattr(select, "kevent", lambda *event: event, raising=False)
    MacOS().await_exit(4711)
    # EVFILT_PROC, EV_ADD with EV_ONESHOT, NOTE_EXIT
    assert queue.watched == [(4711, -5, 0x11, 0x80000000)]
    assert queue.closed
