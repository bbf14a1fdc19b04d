"""Memory cgroups and the page cache: real ones where this system allows them, folders that look like them otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hypura_client.bench import cgroup
from hypura_client.bench.conditions import empty_page_cache


def process(tmp_path: Path, membership: str, mount: str) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "cgroup").write_text(membership)
    (folder / "mountinfo").write_text(mount)
    return folder


def test_v1_goes_below_our_own(tmp_path: Path) -> None:
    """Keeps out a cgroup beside a container's, where it would escape the container's limit."""
    own = tmp_path / "memory" / "user" / "job"
    own.mkdir(parents=True)
    proc = process(
        tmp_path, "4:memory:/user/job\n0::/\n", f"30 20 0:1 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    )
    made = cgroup.make(123_456_789, proc, {})
    assert made.kind == "v1" and made.folder is not None and made.folder.parent == own
    assert (made.folder / "memory.limit_in_bytes").read_text() == "123456789"
    assert made.prefix[-1] == str(made.folder)
    (made.folder / "memory.max_usage_in_bytes").write_text("77\n")
    assert made.peak_bytes() == 77


def test_leftovers_of_killed_benchmarks_are_removed(tmp_path: Path) -> None:
    """Keeps out a cgroup for every benchmark that was ever killed, and the loss of one that runs."""
    own = tmp_path / "memory"
    ours, dead = own / f"hypura-bench-{os.getpid()}-aa", own / "hypura-bench-4194305-bb"  # above Linux's largest pid
    for folder in (ours, dead):
        folder.mkdir(parents=True)
    proc = process(tmp_path, "4:memory:/\n", f"30 20 0:1 / {own} rw - cgroup cgroup rw,memory\n")
    cgroup.make(1 << 20, proc, {})
    assert ours.exists() and not dead.exists()


def test_v2_goes_where_memory_is_delegated(tmp_path: Path) -> None:
    """Keeps out the v2 cgroup that we are in ourselves: one with processes cannot limit children."""
    unified = tmp_path / "unified"
    own = unified / "a.slice" / "b.service"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (unified / "a.slice" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    proc = process(tmp_path, "0::/a.slice/b.service\n", f"30 20 0:1 / {unified} rw - cgroup2 cgroup2 rw,nsdelegate\n")
    made = cgroup.make(1 << 30, proc, {})
    assert made.kind == "v2" and made.folder is not None and made.folder.parent == unified / "a.slice"
    assert (made.folder / "memory.max").read_text() == str(1 << 30)


@pytest.mark.parametrize("membership", ["", "nonsense\n", "4:memory:/../..\n", "0::/nowhere\n"])
def test_without_cgroups_the_reason_is_given(tmp_path: Path, membership: str) -> None:
    proc = process(tmp_path, membership, "garbage\n30 20 0:1 / /nowhere rw - cgroup2 x rw\n")
    with pytest.raises(cgroup.NoCgroup, match=r"cgroup|written"):
        cgroup.make(1 << 30, proc, {})


def test_a_limit_really_kills(tmp_path: Path) -> None:
    """Keeps out a limit that is written and not obeyed, and a cgroup that stays behind."""
    try:
        made = cgroup.make(64 << 20)
    except cgroup.NoCgroup as error:
        pytest.skip(f"this system lets us make no memory cgroup: {error}")
    hungry = "print(len(bytearray(400 << 20)), flush=True)"
    try:
        ended = subprocess.run([*made.prefix, sys.executable, "-c", hungry], capture_output=True, timeout=60)
        modest = subprocess.run([*made.prefix, sys.executable, "-c", "print(1)"], capture_output=True, timeout=60)
    finally:
        made.remove()
    assert ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), ended
    assert modest.stdout == b"1\n", modest
    assert made.folder is None or not made.folder.exists()


def test_caches_say_how_far_they_were_emptied(tmp_path: Path) -> None:
    """Keeps out a claim of empty caches where nothing was done."""
    model, switch = tmp_path / "model.gguf", tmp_path / "drop_caches"
    model.write_bytes(b"x" * 8192)
    advised = "the model's files" if hasattr(os, "posix_fadvise") else "nothing"
    assert empty_page_cache([model], tmp_path / "missing") == advised
    switch.touch()
    assert empty_page_cache([model], switch) == "everything" and switch.read_text() == "1"
