"""Finds the devices on which ggml can compute, by a short-lived probe process of the worker."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Annotated

import structlog
from pydantic import Field, TypeAdapter

from hypura.json_lines import from_line
from hypura.v1 import tools_pb2
from hypura_daemon.errors import WorkerDied, WorkerFailed
from hypura_daemon.hardware.profile import GpuDevice, Large, Real, TypeSpeed
from hypura_daemon.hardware.wire import gpus_from_proto, type_speeds_from_proto
from hypura_daemon.platforms.platform import current
from hypura_daemon.system.child import Child

PROBE_COMMAND = (sys.executable, "-m", "hypura_worker.tools.probe")
_GRACE_SECONDS = 2.0
_KILL_SECONDS = 5.0
_REMEDY = 'run "python -m hypura_worker.tools.probe" to see why, or reinstall llama-cpp-python'


@dataclass(frozen=True, slots=True)
class Measured:
    """What the probe measures once; extra_buffers_verdict: why extra buffers are used or not.

    The ranges are those of a report: in a message, 0 and "" stand for a value that is missing.
    """

    memory_bytes_per_second: Annotated[Real, Field(gt=0)]
    worker_base_bytes: Annotated[Large, Field(gt=0)]
    extra_buffers_work: bool
    extra_buffers_verdict: Annotated[str, Field(min_length=1)]
    type_speeds: tuple[TypeSpeed, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe found; measured is None if only the devices were requested."""

    llama_cpp_python_version: Annotated[str, Field(min_length=1)]
    gpus: tuple[GpuDevice, ...]
    measured: Measured | None


_checker = TypeAdapter(ProbeResult)
_log = structlog.get_logger()


async def probe_devices(
    timeout_seconds: float,
    *,
    devices_only: bool = False,
    command: Sequence[str] = PROBE_COMMAND,
) -> ProbeResult:
    """Run the probe: about a second for the devices alone, a few more with the measurements.

    Memory is measured with all usable cores. Raises WorkerDied if a signal ended it, WorkerFailed if it failed, gave an
    invalid result or took too long.
    """
    arguments = [*command, "--end-with-stdin", "--threads", str(current().usable_cores())]
    if devices_only:
        arguments.append("--devices-only")
    # The probe writes only here, so that nothing is left when it is killed.
    with TemporaryDirectory(prefix="hypura-", ignore_cleanup_errors=True) as folder:
        output = await _run([*arguments, "--folder", folder], timeout_seconds)
    try:
        return _result(from_line(tools_pb2.ProbeReport, output))
    except ValueError as error:
        raise WorkerFailed(
            f"the device probe answered {output[:200]!r}, which is not a valid result; {_REMEDY}"
        ) from error


def _result(report: tools_pb2.ProbeReport) -> ProbeResult:
    """The result of a report. Raises ValueError where a value is missing or out of its range."""
    measured = None
    if report.HasField("measured"):
        found = report.measured
        measured = Measured(
            memory_bytes_per_second=found.memory_bytes_per_second,
            worker_base_bytes=found.worker_base_bytes,
            extra_buffers_work=found.extra_buffers_work,
            extra_buffers_verdict=found.extra_buffers_verdict,
            type_speeds=type_speeds_from_proto(found.type_speeds),
        )
    result = ProbeResult(report.llama_cpp_python_version, gpus_from_proto(report.gpus), measured)
    return _checker.validate_python(asdict(result))


async def _run(command: Sequence[str], timeout_seconds: float) -> bytes:
    """The command's standard output. Its process group has ended when this returns or raises."""
    try:
        child = await Child.started(command)
    except OSError as error:
        raise WorkerFailed(f"the device probe cannot be run: {error}; {_REMEDY}") from error
    ending = asyncio.ensure_future(child.ended())
    try:
        async with asyncio.timeout(timeout_seconds), asyncio.TaskGroup() as tasks:
            output = tasks.create_task(child.stdout.read())
            errors = tasks.create_task(child.stderr.read())
        async with asyncio.timeout(timeout_seconds):
            status = await asyncio.shield(ending)
    except TimeoutError as error:
        raise WorkerFailed(
            f"the device probe did not end within {timeout_seconds:g} s and was stopped; "
            f"a GPU driver may hang, {_REMEDY}"
        ) from error
    finally:
        await asyncio.shield(_end(child, ending))
    last_lines = " | ".join(errors.result().decode(errors="replace").strip().splitlines()[-5:]) or "nothing"
    if status < 0:
        raise WorkerDied(f"the device probe died of {_signal_name(-status)}; its last lines: {last_lines}; {_REMEDY}")
    if status != 0:
        raise WorkerFailed(f"the device probe ended with code {status}; its last lines: {last_lines}; {_REMEDY}")
    return output.result()


async def _end(child: Child, ending: "asyncio.Future[int]") -> None:
    """End the whole process group, since the probe's self-test has a child: TERM, grace, KILL, reap."""
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        if not ending.done():
            child.signal(number)
            await asyncio.wait({ending}, timeout=seconds)
    if not ending.done():
        _log.error("the device probe was killed but hangs in the system, perhaps in a driver", pid=child.pid)
    child.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
