"""The daemon's status as messages: of the daemon, and of every model that is loaded, loading or failed."""

import asyncio
import importlib.metadata
import os
import time
from dataclasses import dataclass, field

import structlog

from hypura.v1 import control_pb2, worker_pb2
from hypura_daemon.errors import HypuraError
from hypura_daemon.hardware.store import HardwareStore, Measuring
from hypura_daemon.planning.wire import plan_to_proto
from hypura_daemon.platforms.platform import current
from hypura_daemon.residency.state import ModelSnapshot, ModelState
from hypura_daemon.residency.supervisor import Supervisor
from hypura_daemon.settings import Settings

_STATES = {
    ModelState.UNLOADED: control_pb2.MODEL_STATE_UNLOADED,
    ModelState.LOADING: control_pb2.MODEL_STATE_LOADING,
    ModelState.READY: control_pb2.MODEL_STATE_READY,
    ModelState.UNLOADING: control_pb2.MODEL_STATE_UNLOADING,
    ModelState.FAILED: control_pb2.MODEL_STATE_FAILED,
}
_log = structlog.get_logger()


def version() -> str:
    """Hypura's version."""
    try:
        return importlib.metadata.version("hypura")
    except importlib.metadata.PackageNotFoundError:
        return "0.1.0+source"


def model_status(
    snapshot: ModelSnapshot, statistics: worker_pb2.WorkerStatisticsResponse | None
) -> control_pb2.ModelStatus:
    """One model's status; its plan comes without tensors."""
    return control_pb2.ModelStatus(
        name=snapshot.name,
        state=_STATES[snapshot.state],
        worker_pid=snapshot.worker_pid,
        plan=plan_to_proto(snapshot.plan, tensors=False) if snapshot.plan is not None else None,
        loaded=snapshot.loaded,
        statistics=statistics,
        error=snapshot.error,
        load_progress=snapshot.load_progress,
        loaded_at_seconds=snapshot.loaded_at_seconds,
        pinned=snapshot.pinned,
        expires_at_seconds=snapshot.expires_at_seconds,
        memory_limit_bytes=snapshot.memory_limit_bytes,
    )


@dataclass(frozen=True, slots=True)
class StatusReporter:
    """Collects the status from the supervisor and the workers."""

    settings: Settings
    supervisor: Supervisor
    hardware: HardwareStore
    http_address: str = ""
    started_seconds: float = field(default_factory=time.monotonic)

    async def report(self) -> control_pb2.StatusResponse:
        """The status now."""
        snapshots = self.supervisor.status()
        statistics = await asyncio.gather(*(_statistics(snapshot) for snapshot in snapshots))
        return control_pb2.StatusResponse(
            daemon=control_pb2.DaemonStatus(
                pid=os.getpid(),
                version=version(),
                uptime_seconds=time.monotonic() - self.started_seconds,
                socket_path=str(self.settings.socket),
                home=str(self.settings.home),
                memory_budget_bytes=self.supervisor.memory_budget_bytes,
                planned_bytes=self.supervisor.planned_bytes,
                rss_bytes=current().rss_bytes(os.getpid()),
                http_address=self.http_address,
                measuring=_measuring_status(self.hardware.measuring),
            ),
            models=[model_status(snapshot, figures) for snapshot, figures in zip(snapshots, statistics, strict=True)],
        )

    async def model(self, name: str) -> control_pb2.ModelStatus:
        """One model's status; UNLOADED when the supervisor does not know it."""
        for snapshot in self.supervisor.status():
            if snapshot.name == name:
                return model_status(snapshot, await _statistics(snapshot))
        return control_pb2.ModelStatus(name=name, state=control_pb2.MODEL_STATE_UNLOADED)


def _measuring_status(measuring: Measuring) -> control_pb2.MeasuringStatus:
    return control_pb2.MeasuringStatus(
        what=measuring.what,
        seconds=time.monotonic() - measuring.since_seconds if measuring.what else 0.0,
        measured=measuring.measured,
        error=measuring.error,
    )


async def _statistics(snapshot: ModelSnapshot) -> worker_pb2.WorkerStatisticsResponse | None:
    """A worker's counters; None when it does not report them now, so that a status never fails."""
    if snapshot.worker is None:
        return None
    try:
        return await snapshot.worker.statistics()
    except HypuraError as error:
        _log.warning("a worker does not report its statistics", model=snapshot.name, error=str(error))
        return None
