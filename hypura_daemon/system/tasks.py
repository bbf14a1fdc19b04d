"""Background tasks: a failure of one is logged, and the task is restarted after a pause; it never ends the daemon."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

_log = structlog.get_logger()


async def supervised(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
) -> None:
    """Do the work until it returns. When it fails it is begun anew, after a pause that doubles each time.

    Work that held for longer than the longest pause is given the first one again. Cancel this to end it.
    """
    pause_seconds = first_pause_seconds
    while True:
        begun = time.monotonic()
        try:
            return await work()
        except Exception as error:
            if time.monotonic() - begun > longest_pause_seconds:
                pause_seconds = first_pause_seconds
            # An OSError is the system's, and tells all; anything else is a defect, and its traceback is wanted.
            _log.error(
                "a background task failed and is begun anew",
                task=name,
                error=str(error) or repr(error),
                pause_seconds=pause_seconds,
                exc_info=None if isinstance(error, OSError) else error,
            )
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(longest_pause_seconds, 2 * pause_seconds)
