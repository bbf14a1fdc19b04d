"""Container limits, read from folders that look like /proc and /sys/fs/cgroup."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.platforms.cgroups import (
    cgroup_cpu_quota,
    cgroup_levels,
    cgroup_memory,
    cgroup_oom_kills,
    read_mounts,
)

_GIB = 1 << 30


class Tree:
    """A fake /proc/self and cgroup mounts below one folder."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "proc"
        self.process.mkdir()
        self.top = folder / "cgroup fs"
        self._mounts: list[str] = ["22 27 0:21 / /proc rw,relatime - proc proc rw"]
        self._cgroups: list[str] = []
        self._write()

    def mount(self, name: str, filesystem: str, options: str, root: str = "/") -> Path:
        point = self.top / name
        point.mkdir(parents=True)
        escaped = str(point).replace(" ", "\\040")
        self._mounts.append(f"30 22 0:26 {root} {escaped} rw,nosuid shared:9 - {filesystem} cgroup {options}")
        self._write()
        return point

    def member(self, line: str) -> None:
        self._cgroups.append(line)
        self._write()

    def _write(self) -> None:
        (self.process / "mountinfo").write_text("\n".join(self._mounts) + "\n")
        (self.process / "cgroup").write_text("\n".join(self._cgroups) + "\n")


def files(folder: Path, **contents: str) -> None:
    """Write cgroup files; a double underscore stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_an_enclosing_limit_counts_when_the_own_cgroup_has_none(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    top = tree.mount("", "cgroup2", "rw")
    tree.member("0::/pod/job")
    files(top / "pod", memory__max=str(8 * _GIB), memory__current=str(5 * _GIB))
    files(top / "pod", memory__stat=f"anon 1\nactive_file {_GIB}\ninactive_file {2 * _GIB}\nslab 7")
    files(top / "pod/job", memory__max="max", memory__current=str(_GIB))
    memory = cgroup_memory(tree.process)
    assert memory.container_limit_bytes == 8 * _GIB
    assert memory.available_bytes == 6 * _GIB  # 3 GiB of the 5 in use are page cache


def test_the_tightest_level_wins_and_memory_high_is_a_limit(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    top = tree.mount("", "cgroup2", "rw")
    tree.member("0::/a/b")
    files(top / "a", memory__max=str(4 * _GIB), memory__current=str(3 * _GIB + _GIB // 2))
    files(top / "a/b", memory__max=str(9 * _GIB), memory__high=str(2 * _GIB), memory__current=str(_GIB))
    memory = cgroup_memory(tree.process)
    assert memory.container_limit_bytes == 2 * _GIB
    assert memory.available_bytes == _GIB // 2  # the outer one has less left


def test_version_1_counts_the_page_cache_of_children_as_reclaimable(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    top = tree.mount("memory", "cgroup", "rw,memory")
    tree.mount("unified", "cgroup2", "rw")
    tree.member("4:memory:/user/job")
    tree.member("0::/")
    unlimited = str((1 << 63) - 4096)
    files(top, memory__limit_in_bytes=unlimited, memory__usage_in_bytes="1")
    files(top / "user", memory__limit_in_bytes=str(3 * _GIB), memory__usage_in_bytes=str(2 * _GIB))
    files(top / "user", memory__stat=f"total_active_file {_GIB}\ntotal_inactive_file 0\nactive_file 5")
    files(top / "user/job", memory__limit_in_bytes=unlimited, memory__usage_in_bytes="5")
    assert cgroup_memory(tree.process).container_limit_bytes == 3 * _GIB
    assert cgroup_memory(tree.process).available_bytes == 2 * _GIB


def test_a_container_that_sees_the_hosts_paths_is_found_by_the_mounts_root(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    top = tree.mount("memory", "cgroup", "rw,memory", root="/docker/abc")
    tree.member("4:memory:/docker/abc/inner")
    files(top, memory__limit_in_bytes=str(_GIB), memory__usage_in_bytes="0")
    files(top / "inner", memory__limit_in_bytes=str(2 * _GIB), memory__usage_in_bytes="0")
    assert list(cgroup_levels(tree.process, "memory")) == [top / "inner", top]
    assert cgroup_memory(tree.process).container_limit_bytes == _GIB


def test_a_cgroup_outside_the_mount_is_represented_by_the_mount(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    top = tree.mount("", "cgroup2", "rw", root="/elsewhere")
    tree.member("0::/../../sibling")
    files(top, memory__max=str(_GIB), memory__current="0")
    assert cgroup_memory(tree.process).container_limit_bytes == _GIB


def test_quotas_of_both_versions(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    unified = tree.mount("unified", "cgroup2", "rw")
    legacy = tree.mount("cpu", "cgroup", "rw,cpu,cpuacct")
    tree.member("1:cpu,cpuacct:/job")
    tree.member("0::/job")
    files(legacy / "job", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    files(unified / "job", cpu__max="max 100000")
    assert cgroup_cpu_quota(tree.process) is None
    files(unified, cpu__max="250000 100000")
    assert cgroup_cpu_quota(tree.process) == 2.5
    files(legacy, cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    assert cgroup_cpu_quota(tree.process) == 1.5


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path).container_limit_bytes is None
    assert cgroup_cpu_quota(tmp_path) is None


def test_mount_points_with_blanks_are_unescaped(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("1 2 8:1 / /mnt/my\\040models rw - ext4 /dev/sd\\134a rw\nnonsense\n")
    (mount,) = read_mounts(tmp_path / "mountinfo")
    assert (mount.point, mount.filesystem, mount.source) == ("/mnt/my models", "ext4", "/dev/sd\\a")


@given(st.text(max_size=80), st.text(max_size=40))
def test_invalid_limits_are_ignored(line: str, value: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        top = tree.mount("", "cgroup2", "rw")
        tree.process.joinpath("cgroup").write_bytes(f"{line}\n0::/\n".encode(errors="replace"))
        files(top, memory__current="none")
        top.joinpath("memory.max").write_bytes(value.encode(errors="replace"))
        limit = cgroup_memory(tree.process).container_limit_bytes
        assert limit is None or limit >= 0


def test_kills_are_counted_where_the_process_is_and_unknown_without_a_count(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert cgroup_oom_kills(tree.process) is None
    top = tree.mount("", "cgroup2", "rw")
    tree.member("0::/pod/job")
    files(top / "pod", memory__events="oom 9\noom_kill 8")
    files(top / "pod/job", memory__events="low 0\noom 3\noom_kill 2")
    assert cgroup_oom_kills(tree.process) == 2


def test_kills_are_counted_by_the_first_version_too(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    point = tree.mount("memory", "cgroup", "rw,memory")
    tree.member("5:memory:/job")
    files(point / "job", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 4")
    assert cgroup_oom_kills(tree.process) == 4
