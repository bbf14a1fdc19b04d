"""What `hypuractl tune` found, in home/tuning: a file for each model's content, beside the hardware profile.

kept                      used until
a mode's settings         the model's files change, other hardware, another llama-cpp-python, another tuning
"""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import Field, TypeAdapter, ValidationError

from hypura_daemon.errors import InvalidRequest, WorkerFailed
from hypura_daemon.hardware.profile import HardwareProfile, Large, Real
from hypura_daemon.planning.plan import Mode, RunSettings
from hypura_daemon.planning.run_settings import checked_settings
from hypura_daemon.system.files import replace_file
from hypura_daemon.system.threads import HOME

FORMAT = 1
_MAX_FILE_BYTES = 1 << 20
_MAX_GAIN = 1e6
_DIGEST = re.compile(r"[0-9a-f]{64}")
_Gain = Annotated[float, Field(ge=-1, le=_MAX_GAIN, allow_inf_nan=False)]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result for one mode; gains are speed divided by speed with the planner's choice, minus 1."""

    mode: Mode
    settings: RunSettings
    memory_limit_bytes: Large = 0
    decode_gain: _Gain = 0.0
    prompt_gain: _Gain = 0.0
    measured_at_seconds: Real = 0.0
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """The content of a file."""

    format: int
    digest: str
    tunings: tuple[Tuning, ...]


_parser = TypeAdapter(Kept)


class Tunings:
    """The files of tunings. A model that was never tuned has none; an unusable file is logged and ignored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """The file of a model's content."""
        if _DIGEST.fullmatch(digest) is None:
            raise WorkerFailed(f"a model's digest is {digest!r}, not 64 hexadecimal digits; report this")
        return self._folder / f"{digest}.json"

    async def read(self, digest: str) -> tuple[Tuning, ...]:
        """The tunings of this model, of any machine."""
        return await HOME(_read, self.path(digest), digest)

    async def settings_for(self, digest: str, mode: Mode, hardware: HardwareProfile) -> RunSettings:
        """The settings found for this model and mode on this machine; empty if there are none."""
        machine = machine_of(hardware)
        for tuning in await self.read(digest):
            if tuning.mode is not mode:
                continue
            if tuning.machine != machine:
                _log.info("a tuning of another machine or llama-cpp-python is not used; tune again", digest=digest)
                continue
            try:
                return checked_settings(tuning.settings, hardware.usable_cores)
            except InvalidRequest as error:
                _log.warning("a tuning is not used", file=str(self.path(digest)), error=str(error))
        return RunSettings()

    async def save(self, digest: str, tuning: Tuning, hardware: HardwareProfile) -> Tuning:
        """Save a tuning in place of the one for its mode; returns it as saved.

        Raises InvalidRequest for settings that this machine cannot have, WorkerFailed if the file cannot be written.
        """
        checked_settings(tuning.settings, hardware.usable_cores)
        if tuning.memory_limit_bytes >= 1 << 63:
            raise InvalidRequest(f"a memory limit of {tuning.memory_limit_bytes} bytes is not possible")
        for gain in (tuning.decode_gain, tuning.prompt_gain):
            if not -1 <= gain <= _MAX_GAIN:
                raise InvalidRequest(f"a gain of {gain} is not possible; give -1 to {_MAX_GAIN:g}")
        kept = replace(tuning, machine=machine_of(hardware), measured_at_seconds=time.time())
        others = tuple(other for other in await self.read(digest) if other.mode is not tuning.mode)
        file = self.path(digest)
        try:
            content = _parser.dump_json(Kept(FORMAT, digest, (*others, kept)), indent=1)
            await HOME(replace_file, file, content)
        except OSError as error:
            raise WorkerFailed(
                f"{file} cannot be written: {error}; free some space, or check its permissions"
            ) from error
        return kept

    async def forget(self, digest: str) -> bool:
        """Remove a model's tunings; returns whether there were any."""
        try:
            await HOME(self.path(digest).unlink)
        except FileNotFoundError:
            return False
        return True


def machine_of(hardware: HardwareProfile) -> str:
    """What a tuning depends on besides the model: the software, the processor, the GPUs and the model's drive."""
    drives = (f"{drive.mount} {drive.device} {drive.filesystem}" for drive in hardware.drives)
    gpus = (gpu.description for gpu in hardware.gpus)
    cores = f"{hardware.physical_cores}/{hardware.usable_cores}"
    return "|".join((hardware.llama_cpp_python_version, hardware.cpu, cores, *gpus, *drives))


def _read(file: Path, digest: str) -> tuple[Tuning, ...]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        _log.warning("a tuning cannot be read and is not used", file=str(file), error=str(error))
        return ()
    try:
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"it has more than {_MAX_FILE_BYTES} bytes")
        kept = _parser.validate_json(data)
        if (kept.format, kept.digest) != (FORMAT, digest):
            raise ValueError(f"it is of format {kept.format} and of model {kept.digest[:64]!r}")
    except (ValidationError, ValueError) as error:
        _log.warning("a tuning is corrupt or another model's, and not used", file=str(file), error=str(error)[:300])
        return ()
    return kept.tunings
