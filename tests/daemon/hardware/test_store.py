"""The hardware store: what is measured once, what again, and how a broken file is handled."""

import asyncio
import json
import os
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypura_daemon.errors import ModelFileError, WorkerFailed
from hypura_daemon.hardware import store as store_module
from hypura_daemon.hardware.devices import Measured, ProbeResult, probe_devices
from hypura_daemon.hardware.drive import SMALL_FILE_BYTES, measure_drive
from hypura_daemon.hardware.profile import DriveProfile, GpuDevice
from hypura_daemon.hardware.store import HardwareStore, Saved, SavedProbe, largest_model_file, load, write
from tests.daemon.in_process import serving
from tests.hardware import DEMO

_MEASURED_SECONDS = 200.0
_GPU = GpuDevice("CUDA0", "H200", 1000, 900, False)


class Counted:
    """A quick probe and quick real drive measurements, counted."""

    def __init__(self, *, gpus: tuple[GpuDevice, ...] = ()) -> None:
        self.probes = 0
        self.device_lists = 0
        self.drives = 0
        self.gpus = gpus

    async def probe(self, timeout_seconds: float, *, devices_only: bool = False) -> ProbeResult:
        await asyncio.sleep(0)
        self.device_lists += devices_only
        self.probes += not devices_only
        measured = None if devices_only else Measured(2e10, 66_000_000, True, "the self-test passed")
        return ProbeResult("0.3.36", self.gpus, measured)

    def measure(self, path: Path) -> DriveProfile:
        self.drives += 1
        return measure_drive(path, point_seconds=0.002)

    def store(self, home: Path) -> HardwareStore:
        return HardwareStore(home, probe=self.probe, measure=self.measure)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(os.urandom(1 << 20))
    return path


async def test_a_daemon_in_a_fresh_home_measures_the_machine_and_its_models_drive(folder: Path) -> None:
    kept = folder / "hardware.json"
    async with serving(folder, measured=False), asyncio.timeout(_MEASURED_SECONDS):
        while not load(kept).drives:  # noqa: ASYNC110  (drives are measured after the machine)
            await asyncio.sleep(0.1)

    async def list_devices(timeout_seconds: float, *, devices_only: bool = False) -> ProbeResult:
        assert devices_only, "what the daemon has measured is measured again"
        return await probe_devices(timeout_seconds, devices_only=True)

    profile = await HardwareStore(folder, probe=list_devices).profile(DEMO)
    assert profile.memory_bytes_per_second > 1e9
    assert profile.worker_base_bytes > 0
    assert 0 < profile.memory_available_bytes <= profile.container_limit_bytes <= profile.memory_total_bytes
    assert profile.llama_cpp_python_version
    (drive,) = profile.drives
    assert drive.bytes_per_second > 0
    assert kept.stat().st_mode & 0o777 == 0o600
    saved = load(kept)
    assert saved.drives == profile.drives and saved.probe is not None
    probe = saved.probe.result
    assert probe.llama_cpp_python_version == version("llama-cpp-python")
    assert probe.measured is not None
    assert 1e9 < probe.measured.memory_bytes_per_second < 5e12
    assert 20e6 < probe.measured.worker_base_bytes < 1e9
    assert probe.measured.extra_buffers_verdict
    speeds = {speed.type: speed.bytes_per_second for speed in probe.measured.type_speeds}
    assert {"F16", "Q8_0", "Q4_K", "Q6_K", "MXFP4"} <= speeds.keys()
    assert all(1e8 < speed < 5e12 for speed in speeds.values())
    assert all(0 <= gpu.free_bytes <= gpu.total_bytes for gpu in probe.gpus)


async def test_measured_once_across_daemons(tmp_path: Path, model: Path) -> None:
    counted = Counted()
    first = await counted.store(tmp_path).profile(model)
    again = counted.store(tmp_path)
    assert (await again.profile(model)).drives == first.drives
    assert (await again.profile()).drives == first.drives
    assert (counted.probes, counted.device_lists, counted.drives) == (1, 0, 1)


async def test_concurrent_callers_share_one_measurement(tmp_path: Path, model: Path) -> None:
    counted = Counted(gpus=(_GPU,))
    store = counted.store(tmp_path)
    profiles = await asyncio.gather(*(store.profile(model) for _ in range(5)))
    assert (counted.probes, counted.device_lists, counted.drives) == (1, 0, 1)
    assert len({profile.drives for profile in profiles}) == 1
    await asyncio.gather(*(store.profile(model, refresh=True) for _ in range(5)))
    assert (counted.probes, counted.device_lists, counted.drives) == (2, 0, 2)


async def test_free_gpu_memory_is_always_read_again(tmp_path: Path) -> None:
    counted = Counted(gpus=(_GPU,))
    store = counted.store(tmp_path)
    assert (await store.profile()).gpus[0].free_bytes == 900
    counted.gpus = (replace(_GPU, free_bytes=100, unified=True),)
    profile = await store.profile()
    assert profile.gpus[0].free_bytes == 100
    assert profile.unified_memory
    assert profile.memory_bytes_per_second == 2e10
    assert (counted.probes, counted.device_lists) == (1, 1)


async def test_another_machine_is_probed_again(tmp_path: Path) -> None:
    counted = Counted()
    await counted.store(tmp_path).profile()
    file = tmp_path / "hardware.json"
    saved = load(file)
    assert saved.probe is not None
    write(file, replace(saved, probe=SavedProbe("another machine", saved.probe.result)))
    await counted.store(tmp_path).profile()
    assert counted.probes == 2


async def test_another_drive_at_the_mount_point_is_measured_again(tmp_path: Path, model: Path) -> None:
    counted = Counted()
    await counted.store(tmp_path).profile(model)
    file = tmp_path / "hardware.json"
    saved = load(file)
    write(file, replace(saved, drives=(replace(saved.drives[0], device="/dev/old"),)))
    profile = await counted.store(tmp_path).profile(model)
    assert counted.drives == 2
    assert load(file).drives == profile.drives


async def test_a_small_files_figure_gives_way_to_a_large_files(tmp_path: Path, model: Path) -> None:
    counted = Counted()
    store = counted.store(tmp_path)
    assert (await store.profile(model)).drives[0].provisional
    large = model.with_name("large.gguf")
    with large.open("wb") as opened:
        opened.truncate(SMALL_FILE_BYTES)
    for path in (large, model):
        assert not (await store.profile(path)).drives[0].provisional
    assert counted.drives == 2


async def test_a_drive_measured_while_it_was_written_to_is_measured_again_a_minute_later(
    tmp_path: Path, model: Path
) -> None:
    counted = Counted()
    await counted.store(tmp_path).profile(model)
    file = tmp_path / "hardware.json"
    saved = load(file)
    for age_seconds, measured in ((5.0, 1), (61.0, 2)):
        then = time.time() - age_seconds
        write(file, replace(saved, drives=(replace(saved.drives[0], busy=True, measured_at_seconds=then),)))
        await counted.store(tmp_path).profile(model)
        assert counted.drives == measured


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1, "probe": {"key": 5}}',
        b'{"format": 1, "drives": [{"mount": "/"}]}',
        b"\xff\xfe",
        b" " * (5 << 20),
    ],
)
async def test_a_corrupt_file_is_logged_and_measured_again(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hardware.json"
    file.write_bytes(content)
    counted = Counted()
    with structlog.testing.capture_logs() as lines:
        await counted.store(tmp_path).profile()
    assert counted.probes == 1
    warnings = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert warnings == ["the hardware profile is corrupt; it is measured again"]
    assert load(file).probe is not None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_the_file_raises(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "hardware.json"
    drive = DriveProfile(
        mount="/", device="d", filesystem="f", direct=True, offset_alignment_bytes=512, memory_alignment_bytes=4
    )
    write(file, Saved(drives=(drive,)))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    with structlog.testing.capture_logs():
        assert isinstance(load(file), Saved)


@pytest.mark.parametrize("value", ["-1", "0", "1e999", str(1 << 70), '"many"', "NaN"])
def test_figures_out_of_range_are_corrupt(tmp_path: Path, value: str) -> None:
    file = tmp_path / "hardware.json"
    saved = Saved(probe=SavedProbe("key", ProbeResult("1", (), Measured(1.0, 123456, True, "the self-test passed"))))
    write(file, saved)
    assert load(file) == saved
    file.write_text(file.read_text().replace("123456", value))
    with structlog.testing.capture_logs() as lines:
        assert load(file) == Saved()
    assert len(lines) == 1


async def test_a_home_that_cannot_be_written_is_logged_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    counted = Counted()
    store = counted.store(tmp_path / "home")
    with structlog.testing.capture_logs() as lines:
        await store.profile()
        await store.profile()
    assert counted.probes == 1
    assert any("cannot be saved" in line["event"] for line in lines)


async def test_a_missing_model_is_named_and_the_store_still_works(tmp_path: Path, model: Path) -> None:
    store = Counted().store(tmp_path)
    with pytest.raises(ModelFileError, match=r"gone\.gguf"):
        await store.profile(tmp_path / "gone.gguf")
    assert (await store.profile(model)).drives


async def test_a_failed_probe_is_tried_again(tmp_path: Path) -> None:
    counted = Counted()
    broken = True

    async def probe(timeout_seconds: float, *, devices_only: bool = False) -> ProbeResult:
        if broken:
            raise WorkerFailed("the device probe ended with code 1")
        return await counted.probe(timeout_seconds, devices_only=devices_only)

    store = HardwareStore(tmp_path, probe=probe)
    with pytest.raises(WorkerFailed):
        await store.profile()
    broken = False
    await store.profile()
    assert counted.probes == 1


async def test_measuring_does_not_block_the_loop(tmp_path: Path, model: Path) -> None:
    loop = asyncio.get_running_loop()
    turned = asyncio.Event()

    def measure(path: Path) -> DriveProfile:
        # Ends only when the loop gets a turn.
        asyncio.run_coroutine_threadsafe(_set(turned), loop).result(timeout=10)
        return measure_drive(path, point_seconds=0.002)

    await HardwareStore(tmp_path, probe=Counted().probe, measure=measure).profile(model)
    assert turned.is_set()


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_a_folder_stands_for_its_largest_model(tmp_path: Path) -> None:
    assert largest_model_file(tmp_path) == tmp_path
    for name, size in (("a.gguf", 10), ("b.gguf", 30), ("c.bin", 99)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert largest_model_file(tmp_path) == tmp_path / "b.gguf"
    assert largest_model_file(tmp_path / "a.gguf") == tmp_path / "a.gguf"


def test_writing_replaces_the_file_atomically(tmp_path: Path) -> None:
    file = tmp_path / "hardware.json"
    write(file, Saved())
    write(file, Saved())
    assert list(tmp_path.iterdir()) == [file]
    assert json.loads(file.read_text())["format"] == store_module.FORMAT


class Slow(Counted):
    """A probe that takes until it is released; its list of devices, unless it hangs, does not."""

    def __init__(self, *, gpus: tuple[GpuDevice, ...] = (), hanging: bool = False) -> None:
        super().__init__(gpus=gpus)
        self.hanging = hanging
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def probe(self, timeout_seconds: float, *, devices_only: bool = False) -> ProbeResult:
        result = await super().probe(timeout_seconds, devices_only=devices_only)
        self.begun.set()
        if self.hanging or not devices_only:
            await self.go.wait()
        return result

    def store(self, home: Path) -> HardwareStore:
        return HardwareStore(home, probe=self.probe, measure=self.measure, patience_seconds=0.05)


async def test_a_plan_has_figures_before_the_machine_is_measured(tmp_path: Path, model: Path) -> None:
    slow = Slow(gpus=(_GPU,))
    store = slow.store(tmp_path)
    profiles = await asyncio.gather(*(store.known_profile(model) for _ in range(5)))
    assert {profile.gpus for profile in profiles} == {(_GPU,)}
    assert {(p.memory_bytes_per_second, p.worker_base_bytes, p.extra_buffers_work) for p in profiles} == {(0, 0, False)}
    assert profiles[0].llama_cpp_python_version
    (drive,) = profiles[0].drives
    assert (drive.measured_at_seconds, drive.best_queue_depth) == (0, 0)
    assert drive.mount and drive.offset_alignment_bytes
    assert (slow.probes, slow.device_lists, slow.drives) == (1, 1, 0)
    assert store.measuring.what == "the machine" and not store.measuring.measured
    slow.go.set()
    profile = await store.profile(model)
    assert profile.memory_bytes_per_second == 2e10
    assert (await store.known_profile(model)).drives == profile.drives
    assert (slow.probes, slow.drives) == (1, 1)
    assert store.measuring.what == "" and store.measuring.measured
    await asyncio.sleep(0)  # A measurement is forgotten right after it has ended.
    assert tuple(store._running) == ()


async def test_a_plan_does_not_wait_for_devices_that_do_not_answer(tmp_path: Path, model: Path) -> None:
    store = Slow(gpus=(_GPU,), hanging=True).store(tmp_path)
    async with asyncio.timeout(5):
        assert (await store.known_profile(model)).gpus == ()
        assert (await store.known_profile(model)).gpus == ()
    await store.close()


async def test_a_measurement_continues_when_its_request_is_cancelled(tmp_path: Path, model: Path) -> None:
    slow = Slow()
    store = slow.store(tmp_path)
    asking = asyncio.ensure_future(store.profile(model))
    await slow.begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    slow.go.set()
    profile = await store.profile(model)
    assert profile.memory_bytes_per_second == 2e10
    assert slow.probes == 1


async def test_after_a_reboot_the_earlier_figures_count_until_there_are_new_ones(tmp_path: Path, model: Path) -> None:
    before = Counted(gpus=(_GPU,))
    await before.store(tmp_path).profile(model)
    file = tmp_path / "hardware.json"
    saved = load(file)
    assert saved.probe is not None
    stem = saved.probe.key.rpartition("|")[0]
    write(file, replace(saved, probe=SavedProbe(f"{stem}|another boot", saved.probe.result)))
    slow = Slow()  # The GPU is gone.
    store = slow.store(tmp_path)
    profile = await store.known_profile(model)
    assert (profile.memory_bytes_per_second, profile.gpus) == (2e10, ())
    assert not store.measuring.measured
    await store.close()
    write(file, replace(saved, probe=SavedProbe(f"another {stem}|another boot", saved.probe.result)))
    store = slow.store(tmp_path)
    assert (await store.known_profile(model)).memory_bytes_per_second == 0
    await store.close()


async def test_a_failed_probe_is_logged_and_not_repeated_by_the_next_plan(tmp_path: Path, model: Path) -> None:
    counted = Counted()

    async def probe(timeout_seconds: float, *, devices_only: bool = False) -> ProbeResult:
        await counted.probe(timeout_seconds, devices_only=devices_only)
        raise WorkerFailed("no such luck")

    store = HardwareStore(tmp_path, probe=probe, measure=counted.measure)
    for _ in range(3):
        profile = await store.known_profile(model)
        assert (profile.gpus, profile.extra_buffers_work) == ((), False)
    assert (counted.probes, counted.device_lists) == (1, 1)
    assert "no such luck" in store.measuring.error
    with pytest.raises(WorkerFailed, match="no such luck"):
        await store.profile(model)


async def test_at_the_start_the_machine_and_each_models_drive_are_measured_once(tmp_path: Path, model: Path) -> None:
    other = model.with_name("other.gguf")
    other.write_bytes(os.urandom(2 << 20))
    counted = Counted()
    with structlog.testing.capture_logs() as lines:
        await counted.store(tmp_path).run(lambda: [model, other, tmp_path / "gone.gguf"])
    assert (counted.probes, counted.drives) == (1, 1)
    told = [(line["event"], line["what"]) for line in lines]
    mount = load(tmp_path / "hardware.json").drives[0].mount
    for what in ("the machine", f"the drive at {mount}"):
        assert told.index(("measuring", what)) < told.index(("measured", what))
    await counted.store(tmp_path).run(lambda: [model, other])
    assert (counted.probes, counted.drives) == (1, 1)
