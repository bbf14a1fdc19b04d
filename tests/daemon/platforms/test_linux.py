"""Linux's figures, of this machine and of fake /proc folders."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hypura_daemon.platforms.linux import Linux, statx_direct_alignment
from hypura_daemon.platforms.platform import Mount, Pressure

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")


def fake_proc(folder: Path, *, cpuinfo: str = "", meminfo: str = "", mountinfo: str = "", cgroup: str = "") -> Linux:
    (folder / "self").mkdir()
    (folder / "cpuinfo").write_text(cpuinfo)
    (folder / "meminfo").write_text(meminfo)
    (folder / "self/mountinfo").write_text(mountinfo)
    (folder / "self/cgroup").write_text(cgroup)
    return Linux(folder)


def test_this_machine() -> None:
    linux = Linux()
    memory = linux.memory()
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 < memory.available_bytes <= memory.container_limit_bytes <= memory.total_bytes
    assert 1 <= linux.usable_cores() <= (os.cpu_count() or 1)
    assert linux.physical_cores() >= 1
    assert linux.cpu_name()
    assert len(linux.boot_id()) == 36
    assert linux.page_bytes() == os.sysconf("SC_PAGE_SIZE")


def test_affinity_limits_the_cores() -> None:
    one = min(os.sched_getaffinity(0))
    code = "from hypura_daemon.platforms.linux import Linux; print(Linux().usable_cores())"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"


def test_a_container_limits_memory_and_cores(tmp_path: Path) -> None:
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    for name, text in {"memory.max": "1000000", "memory.current": "400000", "cpu.max": "50000 100000"}.items():
        (cgroup / name).write_text(text)
    proc = tmp_path / "proc"
    proc.mkdir()
    linux = fake_proc(
        proc,
        meminfo="MemTotal:       8000 kB\nMemFree:        100 kB\nMemAvailable:   6000 kB\nDirty:  30 kB\n"
        "Writeback:  5 kB\nHugePages_Total:       0\n",
        mountinfo=f"30 22 0:26 / {cgroup} rw - cgroup2 cgroup rw\n",
        cgroup="0::/\n",
    )
    memory = linux.memory()
    assert (memory.total_bytes, memory.container_limit_bytes, memory.available_bytes) == (8_192_000, 1_000_000, 600_000)
    assert linux.unwritten_bytes() == 35 * 1024
    assert linux.usable_cores() == 1


def test_an_arm_cpu_without_a_name_gets_the_machines(tmp_path: Path) -> None:
    assert fake_proc(tmp_path, cpuinfo="processor\t: 0\nCPU part\t: 0xd0c\n").cpu_name() == os.uname().machine


def test_the_innermost_and_last_mount_is_found(tmp_path: Path) -> None:
    linux = fake_proc(
        tmp_path,
        mountinfo=(
            "1 0 8:1 / / rw - ext4 /dev/root rw\n"
            f"2 1 8:2 / {tmp_path} rw - xfs /dev/hidden rw\n"
            f"3 1 8:3 / {tmp_path} rw - btrfs /dev/nvme0n1 rw\n"
            f"4 1 8:4 / {tmp_path}2 rw - ext4 /dev/other rw\n"
        ),
    )
    assert linux.mount_of(tmp_path / "cpuinfo") == Mount(str(tmp_path), "/dev/nvme0n1", "btrfs")
    assert linux.mount_of(Path("/")) == Mount("/", "/dev/root", "ext4")


def test_memory_of_a_process_and_of_a_missing_one() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "data = b'x' * 50_000_000; del data; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        linux = Linux()
        peak_bytes = linux.peak_rss_bytes(process.pid)
        assert peak_bytes is not None
        assert peak_bytes > 50_000_000
        assert 0 < linux.rss_bytes(process.pid) < peak_bytes
        process.communicate(b"\n")
    with pytest.raises(ProcessLookupError, match="no process"):
        linux.rss_bytes(process.pid)


def test_the_alignment_from_statx_suffices_for_a_direct_read(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(os.urandom(1 << 16))
    alignment = Linux().direct_alignment(file)
    if alignment is not None:
        assert alignment.offset_bytes & (alignment.offset_bytes - 1) == 0
        assert alignment.offset_bytes <= 1 << 16
    with pytest.raises(FileNotFoundError):
        statx_direct_alignment(tmp_path / "missing")


def test_memory_file_systems_have_no_direct_reads() -> None:
    if Linux().mount_of(Path("/dev/shm")).filesystem == "tmpfs":
        assert Linux().direct_alignment(Path("/dev/shm")) is None


@pytest.mark.parametrize(
    ("some", "full", "pressure"),
    [("0.00", "0.00", Pressure.CALM), ("12.5", "3.1", Pressure.TIGHT), ("80.0", "45.0", Pressure.CRITICAL)],
)
def test_time_spent_waiting_for_memory(tmp_path: Path, some: str, full: str, pressure: Pressure) -> None:
    linux = fake_proc(tmp_path)
    assert linux.pressure() is Pressure.CALM, "a kernel without PSI tells nothing"
    (tmp_path / "pressure").mkdir()
    lines = (
        f"{kind} avg10={avg} avg60=1.00 avg300=0.00 total=47798447\n" for kind, avg in (("some", some), ("full", full))
    )
    (tmp_path / "pressure/memory").write_text("".join(lines))
    assert linux.pressure() is pressure
