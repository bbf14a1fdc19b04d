"""What can be known of a model that is loaded, or was; made by the supervisor, changed by nobody."""

from dataclasses import dataclass
from enum import Enum

from hypura.v1 import worker_pb2
from hypura_daemon.planning.types import Plan
from hypura_daemon.workers.process import WorkerProcess


class ModelState(Enum):
    """The states of a model; the supervisor's docstring has the transitions."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """One model at one moment."""

    name: str
    state: ModelState
    worker_pid: int  # 0 for none.
    plan: Plan | None
    loaded: worker_pb2.LoadedModel | None
    error: str
    load_progress: float  # 0 to 1.
    loaded_at_seconds: float  # Since the epoch; 0 when it never was.
    pinned: bool
    running_requests: int
    memory_bytes: int  # What it holds of the budget.
    worker: WorkerProcess | None
    expires_at_seconds: float | None = None  # Since the epoch; None while it is used, and for never.
    keep_alive_seconds: float = -1.0  # How long it stays after its last request; negative is for ever.


@dataclass(frozen=True, slots=True)
class LoadEvent:
    """News of a load: a stage for people, or the share of the resident bytes in memory."""

    stage: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A loaded model that stays loaded while the lease is held."""

    worker: WorkerProcess
    plan: Plan
    loaded: worker_pb2.LoadedModel
    generation: int
    asked_context_tokens: int  # What the load itself was asked to have, without what requests needed; 0: nothing.
