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
    """What a request needs of its model.

    keep_alive_seconds: how long the model stays after its last request; 0 unloads it then, negative keeps it for
    ever, None leaves it as it is set. context_tokens: what the request needs; 0 for whatever is loaded.
    enough_tokens: the least it accepts where that much cannot be had; None for no less. likely_tokens: what a
    load should make room for if one is needed anyway.
    Raises InvalidRequest for a time that is not a number, and for a negative context.
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
        """The context that a load for this request should have."""
        return max(self.context_tokens, self.likely_tokens)

    def lowered(self, largest_tokens: int) -> "Use | None":
        """The same with less context, where largest_tokens can be had at most; None if that is not enough."""
        if self.likely_tokens > self.context_tokens:
            return replace(self, likely_tokens=0)  # The request does not need that much.
        enough_tokens = self.context_tokens if self.enough_tokens is None else self.enough_tokens
        if not 0 < largest_tokens < self.context_tokens or enough_tokens > largest_tokens:
            return None
        return replace(self, context_tokens=largest_tokens, likely_tokens=0)


AS_IT_IS = Use()
"""For a request that takes the model as it is loaded, and leaves its keep-alive as it is set."""


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
    requested_context_tokens: int  # What the load's own options named, without what requests needed; 0: nothing.


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits for its model.

    request: the options that the model must be loaded with; None takes it as it is. insist: a person requested the
    load, so a model that keeps crashing is tried again. client_left: the client is gone, and this waits in its place,
    so that the load that it began goes on for the next request. Times are of the supervisor's clock.
    """

    request: LoadRequest | None
    pin: bool
    use: Use
    insist: bool
    on_event: Callable[[LoadEvent], None]
    granted: asyncio.Future[Lease]
    since_seconds: float
    client_left: bool = False
    blocked_since_seconds: float | None = None  # Since when it waits while nothing goes on for it; None: work goes on.

    def accept(self, use: Use) -> None:
        """It makes do with this."""
        self.use = use

    def note_blocked(self, now_seconds: float) -> None:
        """Nothing goes on for it."""
        if self.blocked_since_seconds is None:
            self.blocked_since_seconds = now_seconds

    def note_progress(self) -> None:
        """Work for it goes on."""
        self.blocked_since_seconds = None

    def fail(self, error: HypuraError) -> None:
        """End its wait with this error."""
        if not self.granted.done():
            self.granted.set_exception(error)
