"""A request that waits for its model."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hypura_daemon.errors import HypuraError
from hypura_daemon.planning.types import LoadRequest
from hypura_daemon.residency.snapshot import Lease, LoadEvent
from hypura_daemon.residency.use import Use


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
