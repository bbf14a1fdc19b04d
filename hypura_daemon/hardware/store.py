"""The machine's hardware profile: measured once, kept in home/hardware.json, its fresh figures always taken anew.

kept                                       until
probe (speeds, self-test, devices)         reboot, another llama-cpp-python, processor or core count
drives                                     another device or file system at the mount point
available memory, free GPU memory          not kept
"""

import asyncio
import importlib.metadata
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import TypeAdapter, ValidationError

from hypura_daemon.errors import ModelFileError, WorkerFailed
from hypura_daemon.hardware.devices import Measured, ProbeResult, probe_devices
from hypura_daemon.hardware.drive import SMALL_FILE_BYTES, measure_drive
from hypura_daemon.hardware.figures import Mount
from hypura_daemon.hardware.platform import Platform, current
from hypura_daemon.hardware.profile import DriveProfile, GpuDevice, HardwareProfile
from hypura_daemon.whole_file import replace_file

FORMAT = 2
_PROBE_SECONDS = 120.0  # a GPU driver's first start may take half a minute
_BUSY_SECONDS = 60.0
_MAX_FILE_BYTES = 4 << 20
_log = structlog.get_logger()


class Probe(Protocol):
    """probe_devices, or a stand-in."""

    def __call__(self, timeout_seconds: float, *, devices_only: bool = False) -> Awaitable[ProbeResult]: ...


@dataclass(frozen=True, slots=True)
class SavedProbe:
    """A probe, and the machine and software that it is true of."""

    key: str
    result: ProbeResult


@dataclass(frozen=True, slots=True)
class Saved:
    """What hardware.json holds."""

    format: int = FORMAT
    probe: SavedProbe | None = None
    drives: tuple[DriveProfile, ...] = ()


_parser = TypeAdapter(Saved)


class HardwareStore:
    """One per daemon. Measurements run one at a time; whoever asks meanwhile gets the same result."""

    def __init__(
        self,
        home: Path,
        *,
        platform: Platform | None = None,
        probe: Probe = probe_devices,
        measure: Callable[[Path], DriveProfile] = measure_drive,
    ) -> None:
        self._home = home
        self._platform = platform or current()
        self._probe = probe
        self._measure = measure
        self._lock = asyncio.Lock()
        self._saved: Saved | None = None
        # When each thing was last measured by this store (monotonic): see _since.
        self._measured_at: dict[str, float] = {}

    async def profile(self, path: Path | None = None, refresh: bool = False) -> HardwareProfile:
        """The machine, and the drive that holds `path`, or every drive known if there is no path.

        path: a model's file (the largest of a split model), or a folder, whose largest GGUF is
        then read. Raises ModelFileError for a path that cannot be read, WorkerDied or
        WorkerFailed when the probe does not work.
        """
        asked_at = time.monotonic()
        file = await asyncio.to_thread(largest_model_file, path) if path is not None else None
        async with self._lock:
            probe = await self._probed(refresh, asked_at)
            drive = await self._driven(file, refresh, asked_at) if file is not None else None
            drives = self._known().drives if path is None else (drive,) if drive is not None else ()
        return await asyncio.to_thread(_describe, self._platform, probe, drives)

    def _since(self, what: str, asked_at: float) -> bool:
        """Whether it was measured after it was asked for: then that is the answer, even to a refresh."""
        return self._measured_at.get(what, -1.0) >= asked_at

    def _known(self) -> Saved:
        return self._saved if self._saved is not None else Saved()

    async def _probed(self, refresh: bool, asked_at: float) -> ProbeResult:
        """The kept probe with fresh devices, or a new one."""
        if self._saved is None:
            self._saved = await asyncio.to_thread(load, self._file)
        key = await asyncio.to_thread(machine_key, self._platform)
        kept = self._saved.probe
        if kept is not None and kept.key == key and (not refresh or self._since("probe", asked_at)):
            # Their free memory changes all the time; where there is none, there is nothing to ask.
            if not kept.result.gpus or self._since("devices", asked_at):
                return kept.result
            now = await self._probe(_PROBE_SECONDS, devices_only=True)
            self._measured_at["devices"] = time.monotonic()
            result = replace(kept.result, gpus=now.gpus)
            self._saved = replace(self._saved, probe=SavedProbe(key, result))
            return result
        result = await self._probe(_PROBE_SECONDS)
        if result.measured is None:
            raise WorkerFailed("the device probe measured nothing; reinstall hypura, its parts do not match")
        if not result.measured.extra_buffers_work:
            _log.warning("weights will not be repacked", reason=result.measured.extra_buffers_verdict)
        self._measured_at["probe"] = self._measured_at["devices"] = time.monotonic()
        await self._save(replace(self._saved, probe=SavedProbe(key, result)))
        return result

    async def _driven(self, file: Path, refresh: bool, asked_at: float) -> DriveProfile:
        """The kept profile of the file's drive, or a new one."""
        mount, size_bytes = await asyncio.to_thread(_locate, self._platform, file)
        known = self._known()
        kept = next((drive for drive in known.drives if _is_at(drive, mount)), None)
        outgrown = kept is None or (kept.provisional and size_bytes >= SMALL_FILE_BYTES) or _is_over(kept)
        if kept is not None and not outgrown and (not refresh or self._since(mount.point, asked_at)):
            return kept
        drive = await asyncio.to_thread(self._measure, file)
        self._measured_at[mount.point] = time.monotonic()
        if drive.measured_at_seconds:
            others = tuple(other for other in known.drives if other.mount != drive.mount)
            await self._save(replace(known, drives=(*others, drive)))
        return drive

    async def _save(self, saved: Saved) -> None:
        self._saved = saved
        try:
            await asyncio.to_thread(write, self._file, saved)
        except OSError as error:
            _log.warning(
                "the hardware profile is not kept; it is measured again", file=str(self._file), error=str(error)
            )

    @property
    def _file(self) -> Path:
        return self._home / "hardware.json"


def machine_key(platform: Platform) -> str:
    """What a probe's result depends on. Raises WorkerFailed when llama-cpp-python is not installed."""
    try:
        package = importlib.metadata.distribution("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise WorkerFailed("llama-cpp-python is not installed; install hypura with pip") from error
    # Built again with another backend it keeps its version, so the libraries' time counts too.
    libraries = Path(str(package.locate_file("llama_cpp/lib")))
    built = libraries.stat().st_mtime_ns if libraries.exists() else 0
    return "|".join(
        (package.version, str(built), platform.cpu_name(), str(platform.usable_cores()), platform.boot_id())
    )


def load(file: Path) -> Saved:
    """What the file holds; nothing, and a line in the log, when it is unusable."""
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
    """Replace the file at one stroke. Raises OSError."""
    replace_file(file, _parser.dump_json(saved, indent=1))


def largest_model_file(path: Path) -> Path:
    """The path itself, or the largest GGUF in that folder; the folder when it has none.

    Raises ModelFileError when the folder cannot be read.
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
        return Mount("", "", ""), 0  # measuring it will say what is wrong


def _is_at(drive: DriveProfile, mount: Mount) -> bool:
    return (drive.mount, drive.device, drive.filesystem) == (mount.point, mount.device, mount.filesystem)


def _is_over(drive: DriveProfile) -> bool:
    """Whether what made the drive slow may have ended."""
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
        memory_limit_bytes=memory.limit_bytes,
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
