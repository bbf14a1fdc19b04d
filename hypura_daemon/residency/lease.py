"""A request's hold on a model: what it needs (Use), its wait for the model (Waiter), and what it gets (Lease)."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, InvalidRequest
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.workers.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Use:
    """keep_alive_seconds: how long the model stays after its last request; 0 unloads it then, negative is for
    ever, None leaves it as it is set. context_tokens: what the request needs; 0 for whatever is loaded.
    enough_tokens: what it is content with where that much cannot be had; None for no less. likely_tokens: what a
    load should make room for if one is needed anyway.
    Raises InvalidRequest for what is no time, or no context.
    """

    keep_alive_seconds: float | None = None
    context_tokens: int = 0
    enough_tokens: int | None = None
    likely_tokens: int = 0

    def __post_init__(self) -> None:
        if self.keep_alive_seconds is not None and math.isnan(self.keep_alive_seconds):
            raise InvalidRequest("a keep-alive of NaN seconds is not possible; give seconds, or a negative number")
        if self.context_tokens < 0:
            raise InvalidRequest(f"a context of {self.context_tokens} tokens is not possible; give 0 or more")

    @property
    def load_tokens(self) -> int:
        """The context that a load for this request has."""
        return max(self.context_tokens, self.likely_tokens)

    def lowered(self, largest_tokens: int) -> "Use | None":
        """The same with less where so much is the most that can be had; None if that is not enough."""
        if self.likely_tokens > self.context_tokens:
            return replace(self, likely_tokens=0)  # Nobody has asked for that much.
        enough_tokens = self.context_tokens if self.enough_tokens is None else self.enough_tokens
        if not 0 < largest_tokens < self.context_tokens or enough_tokens > largest_tokens:
            return None
        return replace(self, context_tokens=largest_tokens, likely_tokens=0)


AS_IT_IS = Use()
"""Whatever is loaded, and kept as it is set."""


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


@dataclass(slots=True, eq=False)
class Waiter:
    """request is None when it takes the model as it is. insist: it was asked for by hand, so that a model which
    keeps crashing is tried again. gone: its client left, and the load that it began goes on for the next one. Times are
    of the supervisor's clock."""

    request: LoadRequest | None
    pin: bool
    use: Use
    insist: bool
    on_event: Callable[[LoadEvent], None]
    granted: asyncio.Future[Lease]
    since_seconds: float
    blocked_since_seconds: float | None = None  # It waits, and no load for it goes on.
    gone: bool = False

    def fail(self, error: HypuraError) -> None:
        """Tell it that it waits in vain."""
        if not self.granted.done():
            self.granted.set_exception(error)
