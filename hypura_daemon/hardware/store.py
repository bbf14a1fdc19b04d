"""The machine's hardware profile: measured once and kept in home/hardware.json; changing values are always read anew.

kept                                       until
probe (speeds, self-test, devices)         reboot, another llama-cpp-python, processor or core count
drives                                     another device or file system at the mount point
available memory, free GPU memory          not kept

A measurement belongs to the daemon, not to the request that started it: it continues when that request is cancelled,
and all requests meanwhile share it. A plan does not wait for it:

a plan is made from the first of these that exists
    1. the figures of this boot
    2. the figures of an earlier boot of the same machine with the same software
    3. the devices alone, for which a plan waits, but not for long; unknown figures are 0, and the planner then assumes
       little
"""

import asyncio
import importlib.metadata
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from hypura_daemon.errors import ModelFileError, WorkerFailed
from hypura_daemon.hardware.devices import Measured, ProbeResult, probe_devices
from hypura_daemon.hardware.drive import SMALL_FILE_BYTES, measure_drive, unmeasured_drive
from hypura_daemon.hardware.profile import DriveProfile, GpuDevice, HardwareProfile
from hypura_daemon.platforms.platform import Mount, Platform, current
from hypura_daemon.system.files import replace_file
from hypura_daemon.system.threads import MEASURING, in_own_thread

FORMAT = 2
PATIENCE_SECONDS = 10.0
"""How long a plan waits for the devices before it is made without them."""
_PROBE_SECONDS = 300.0  # twenty seconds on a quiet machine; a GPU driver's first start may take half a minute more
_RETRY_SECONDS = 60.0
"""The time after a failed measurement before a plan tries it again."""
_BUSY_SECONDS = 60.0
_MAX_FILE_BYTES = 4 << 20
_log = structlog.get_logger()
_T = TypeVar("_T")


class Probe(Protocol):
    """probe_devices, or a stand-in."""

    def __call__(self, timeout_seconds: float, *, devices_only: bool = False) -> Awaitable[ProbeResult]: ...


@dataclass(frozen=True, slots=True)
class SavedProbe:
    """A probe's result, and the key of the machine and software that it applies to."""

    key: str
    result: ProbeResult


@dataclass(frozen=True, slots=True)
class Saved:
    """The content of hardware.json."""

    format: int = FORMAT
    probe: SavedProbe | None = None
    drives: tuple[DriveProfile, ...] = ()


_parser = TypeAdapter(Saved)


@dataclass(frozen=True, slots=True)
class Measuring:
    """The state of the measurements. what: what is measured now, in words; empty for nothing. measured: the figures of
    this boot exist. error: why the last measurement failed."""

    what: str = ""
    since_seconds: float = 0.0  # Of time.monotonic.
    measured: bool = False
    error: str = ""


class HardwareStore:
    """One per daemon. Measurements run one at a time; requests meanwhile get the same result."""

    def __init__(
        self,
        home: Path,
        *,
        platform: Platform | None = None,
        probe: Probe = probe_devices,
        measure: Callable[[Path], DriveProfile] = measure_drive,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.measuring = Measuring()
        self._home = home
        self._platform = platform or current()
        self._probe = probe
        self._measure = measure
        self._patience_seconds = patience_seconds
        self._lock = asyncio.Lock()
        self._saved: Saved | None = None
        # When this store last measured each thing (monotonic): see _since.
        self._measured_at: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._begun_at: dict[str, float] = {}
        self._failed_at: dict[str, float] = {}
        self._devices: ProbeResult | None = None  # As listed last.

    async def profile(self, path: Path | None = None, refresh: bool = False) -> HardwareProfile:
        """The machine, and the drive of `path`, or all known drives without a path; waits for their measurements.

        path: a model's file (the largest of a split model), or a folder, whose largest GGUF is then read. Raises
        ModelFileError for a path that cannot be read, WorkerDied or WorkerFailed if the probe fails.
        """
        asked_at = time.monotonic()
        file = await MEASURING(largest_model_file, path) if path is not None else None
        probe = await self._current_probe(refresh, asked_at)
        drive = await self._current_drive(file, refresh, asked_at) if file is not None else None
        drives = self._known().drives if path is None else (drive,) if drive is not None else ()
        return await MEASURING(_describe, self._platform, probe, drives)

    async def known_profile(self, file: Path) -> HardwareProfile:
        """The known figures of the machine and of the file's drive, for a plan; starts to measure unknown ones.

        Raises ModelFileError for a file that cannot be examined.
        """
        probe = await self._known_probe()
        drive = await self._known_drive(file)
        return await MEASURING(_describe, self._platform, probe, (drive,))

    async def run(self, files: Callable[[], Iterable[Path]]) -> None:
        """Measure the machine, then each drive that holds one of the files, unless they are known already.

        files: called in a thread.
        """
        await self._current_probe(False, time.monotonic())
        for file in await MEASURING(_one_of_each_drive, self._platform, files):
            try:
                await self._current_drive(file, False, time.monotonic())
            except ModelFileError as error:
                _log.warning("a model's drive is not measured", file=str(file), error=str(error))

    async def close(self) -> None:
        """Cancel the running measurements."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _since(self, what: str, asked_at: float) -> bool:
        """Whether it was measured after the request: then that is the answer, even to a refresh."""
        return self._measured_at.get(what, -1.0) >= asked_at

    def _known(self) -> Saved:
        return self._saved if self._saved is not None else Saved()

    async def _loaded(self) -> tuple[Saved, str]:
        """What is kept, and the key of this machine."""
        if self._saved is None:
            saved = await MEASURING(load, self._file)
            self._saved = self._saved or saved
        key = await MEASURING(machine_key, self._platform)
        return self._saved, key  # In this order: a measurement may have ended meanwhile.

    def _shared(self, what: str, work: Callable[[], Coroutine[Any, Any, _T]]) -> "asyncio.Task[_T]":
        """The running measurement, or a new one. It belongs to the store: shield it, or wait for it."""
        running = self._running.get(what)
        if running is None:
            running = self._running[what] = asyncio.ensure_future(work())
            self._begun_at[what] = time.monotonic()
            running.add_done_callback(lambda task: self._ended(what, task))
        return running

    def _ended(self, what: str, task: "asyncio.Task[Any]") -> None:
        del self._running[what]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._failed_at.pop(what, None)
            return
        self._failed_at[what] = time.monotonic()
        self.measuring = replace(self.measuring, error=str(error))
        _log.warning("a measurement failed", what=what, error=str(error))

    def _failed_recently(self, what: str) -> bool:
        return what in self._failed_at and time.monotonic() - self._failed_at[what] < _RETRY_SECONDS

    async def _within_patience(self, task: "asyncio.Task[Any]", what: str) -> None:
        """Wait for a measurement until a time after its start; it continues if it takes longer."""
        left_seconds = self._begun_at[what] + self._patience_seconds - time.monotonic()
        await asyncio.wait({task}, timeout=max(0.0, left_seconds))

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Report what is measured, in the log and in the status."""
        begun = time.monotonic()
        self.measuring = replace(self.measuring, what=what, since_seconds=begun)
        _log.info("measuring", what=what)
        try:
            yield
            self.measuring = replace(self.measuring, error="")
            _log.info("measured", what=what, seconds=round(time.monotonic() - begun, 2))
        finally:
            self.measuring = replace(self.measuring, what="", since_seconds=0.0)

    async def _current_probe(self, refresh: bool, asked_at: float) -> ProbeResult:
        """The kept probe with fresh devices, or a new one."""
        saved, key = await self._loaded()
        kept = saved.probe
        if kept is not None and kept.key == key:
            self.measuring = replace(self.measuring, measured=True)
            if not refresh or self._since("the machine", asked_at):
                # Free GPU memory changes all the time; without GPUs there is nothing to list.
                if not kept.result.gpus or self._since("devices", asked_at):
                    return kept.result
                return await asyncio.shield(self._shared("devices", self._list_devices))
        return await asyncio.shield(self._shared("the machine", self._measure_machine))

    async def _known_probe(self) -> ProbeResult:
        """The probe from what is known now, for a plan; starts a measurement if it is not of this boot."""
        asked_at = time.monotonic()
        saved, key = await self._loaded()
        is_measured = saved.probe is not None and saved.probe.key == key
        self.measuring = replace(self.measuring, measured=is_measured)
        if not is_measured and not self._failed_recently("the machine"):
            self._shared("the machine", self._measure_machine)
        before = saved.probe.result if saved.probe is not None and _same_machine(saved.probe.key, key) else None
        listed = (before if is_measured else None) or self._devices
        fresh = self._since("devices", asked_at) or self._failed_recently("devices")
        if (listed is None or listed.gpus) and not fresh:
            await self._within_patience(self._shared("devices", self._list_devices), "devices")
        kept = self._known().probe
        if kept is not None and kept.key == key:
            return kept.result
        gpus = self._devices.gpus if self._devices is not None else before.gpus if before is not None else ()
        _log.info(
            "a plan is made before the machine is measured",
            figures="of an earlier boot" if before is not None else "the least",
            gpus=len(gpus) if self._devices is not None or before is not None else "not known yet",
        )
        return replace(before or ProbeResult(_package().version, (), None), gpus=gpus)

    async def _list_devices(self) -> ProbeResult:
        now = self._devices = await self._probe(_PROBE_SECONDS, devices_only=True)
        self._measured_at["devices"] = time.monotonic()
        saved, key = await self._loaded()
        if saved.probe is None or saved.probe.key != key:
            return now
        result = replace(saved.probe.result, gpus=now.gpus)
        self._saved = replace(saved, probe=SavedProbe(key, result))
        return result

    async def _measure_machine(self) -> ProbeResult:
        async with self._lock:
            _, key = await self._loaded()
            with self._reported("the machine"):
                result = await self._probe(_PROBE_SECONDS)
                if result.measured is None:
                    raise WorkerFailed("the device probe measured nothing; reinstall hypura, its parts do not match")
            if not result.measured.extra_buffers_work:
                _log.warning("weights will not be repacked", reason=result.measured.extra_buffers_verdict)
            self._measured_at["the machine"] = self._measured_at["devices"] = time.monotonic()
            self.measuring = replace(self.measuring, measured=True)
            await self._save(replace(self._known(), probe=SavedProbe(key, result)))
            return result

    async def _current_drive(self, file: Path, refresh: bool, asked_at: float) -> DriveProfile:
        """The kept profile of the file's drive, or a new measurement."""
        mount, size_bytes = await MEASURING(_locate, self._platform, file)
        kept = self._kept_drive(mount, size_bytes)
        if kept is not None and (not refresh or self._since(mount.point, asked_at)):
            return kept
        return await asyncio.shield(self._drive_measurement(mount, file))

    async def _known_drive(self, file: Path) -> DriveProfile:
        """The drive from what is known now, for a plan; starts a measurement if nothing is kept."""
        await self._loaded()
        mount, size_bytes = await MEASURING(_locate, self._platform, file)
        kept = self._kept_drive(mount, size_bytes)
        if kept is not None:
            return kept
        if not self._failed_recently(_drive_at(mount)):
            self._drive_measurement(mount, file)
        known = next((drive for drive in self._known().drives if _is_at(drive, mount)), None)
        if known is not None:
            return known
        return await MEASURING(partial(unmeasured_drive, file, platform=self._platform))

    def _kept_drive(self, mount: Mount, size_bytes: int) -> DriveProfile | None:
        """The kept profile of the drive; None if a file of this size, or a measurement now, gives a better one."""
        kept = next((drive for drive in self._known().drives if _is_at(drive, mount)), None)
        if kept is None or (kept.provisional and size_bytes >= SMALL_FILE_BYTES) or _is_outdated(kept):
            return None
        return kept

    def _drive_measurement(self, mount: Mount, file: Path) -> "asyncio.Task[DriveProfile]":
        async def measure() -> DriveProfile:
            async with self._lock:
                with self._reported(_drive_at(mount)):
                    drive = await in_own_thread(lambda: self._measure(file), name="drive")
                self._measured_at[mount.point] = time.monotonic()
                if drive.measured_at_seconds:
                    others = tuple(other for other in self._known().drives if other.mount != drive.mount)
                    await self._save(replace(self._known(), drives=(*others, drive)))
                return drive

        return self._shared(_drive_at(mount), measure)

    async def _save(self, saved: Saved) -> None:
        self._saved = saved
        try:
            await MEASURING(write, self._file, saved)
        except OSError as error:
            _log.warning(
                "the hardware profile cannot be saved; it will be measured again",
                file=str(self._file),
                error=str(error),
            )

    @property
    def _file(self) -> Path:
        return self._home / "hardware.json"


def _package() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise WorkerFailed("llama-cpp-python is not installed; install hypura with pip") from error


def machine_key(platform: Platform) -> str:
    """What a probe's result depends on, the boot last. Raises WorkerFailed if llama-cpp-python is not installed."""
    package = _package()
    # The version stays the same when it is built again with another backend, so the libraries' time counts too.
    libraries = Path(str(package.locate_file("llama_cpp/lib")))
    built = libraries.stat().st_mtime_ns if libraries.exists() else 0
    return "|".join(
        (package.version, str(built), platform.cpu_name(), str(platform.usable_cores()), platform.boot_id())
    )


def _same_machine(key: str, other: str) -> bool:
    """Whether the keys differ at most in the boot."""
    return key.rpartition("|")[0] == other.rpartition("|")[0]


def load(file: Path) -> Saved:
    """The content of the file; an unusable file is logged and ignored."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Saved()
    except OSError as error:
        _log.warning("the hardware profile cannot be read; it is measured again", file=str(file), error=str(error))
        return Saved()
    try:
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"it has more than {_MAX_FILE_BYTES} bytes")
        saved = _parser.validate_json(data)
    except (ValidationError, ValueError) as error:
        _log.warning("the hardware profile is corrupt; it is measured again", file=str(file), error=str(error)[:300])
        return Saved()
    return saved if saved.format == FORMAT else Saved()


def write(file: Path, saved: Saved) -> None:
    """Replace the file atomically. Raises OSError."""
    replace_file(file, _parser.dump_json(saved, indent=1))


def largest_model_file(path: Path) -> Path:
    """The path itself, or the largest GGUF in that folder; the folder if it has none.

    Raises ModelFileError if the folder cannot be read.
    """
    try:
        if not path.is_dir():
            return path
        sizes = [(file.stat().st_size, file) for file in path.glob("*.gguf") if file.is_file()]
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    return max(sizes)[1] if sizes else path


def _locate(platform: Platform, file: Path) -> tuple[Mount, int]:
    try:
        return platform.mount_of(file), file.stat().st_size
    except OSError:
        return Mount("", "", ""), 0  # The measurement raises the error.


def _drive_at(mount: Mount) -> str:
    return f"the drive at {mount.point}"


def _one_of_each_drive(platform: Platform, files: Callable[[], Iterable[Path]]) -> tuple[Path, ...]:
    """The largest file of each drive."""
    largest: dict[Mount, tuple[int, Path]] = {}
    for file in files():
        mount, size_bytes = _locate(platform, file)
        if mount.point and size_bytes > largest.get(mount, (0, file))[0]:
            largest[mount] = size_bytes, file
    return tuple(file for _, file in largest.values())


def _is_at(drive: DriveProfile, mount: Mount) -> bool:
    return (drive.mount, drive.device, drive.filesystem) == (mount.point, mount.device, mount.filesystem)


def _is_outdated(drive: DriveProfile) -> bool:
    """Whether the writes that made the drive slow may have ended."""
    return drive.busy and time.time() - drive.measured_at_seconds >= _BUSY_SECONDS


def _describe(platform: Platform, probe: ProbeResult, drives: tuple[DriveProfile, ...]) -> HardwareProfile:
    memory = platform.memory()
    measured = probe.measured or Measured(0.0, 0, False, "")
    gpus: tuple[GpuDevice, ...] = probe.gpus
    return HardwareProfile(
        cpu=platform.cpu_name(),
        physical_cores=platform.physical_cores(),
        usable_cores=platform.usable_cores(),
        memory_total_bytes=memory.total_bytes,
        container_limit_bytes=memory.container_limit_bytes,
        memory_available_bytes=memory.available_bytes,
        memory_bytes_per_second=measured.memory_bytes_per_second,
        page_bytes=platform.page_bytes(),
        gpus=gpus,
        unified_memory=any(gpu.unified for gpu in gpus),
        extra_buffers_work=measured.extra_buffers_work,
        worker_base_bytes=measured.worker_base_bytes,
        drives=drives,
        llama_cpp_python_version=probe.llama_cpp_python_version,
        type_speeds=measured.type_speeds,
    )
