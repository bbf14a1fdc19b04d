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
    """Do the work until it returns. When it fails it is restarted, after a pause that doubles each time.

    Work that ran for longer than the longest pause gets the first pause again. Cancel this to end it.
    """
    pause_seconds = first_pause_seconds
    while True:
        begun = time.monotonic()
        try:
            return await work()
        except Exception as error:
            if time.monotonic() - begun > longest_pause_seconds:
                pause_seconds = first_pause_seconds
            # An OSError explains itself; anything else is a bug, and needs its traceback.
            _log.error(
                "a background task failed and is restarted",
                task=name,
                error=str(error) or repr(error),
                pause_seconds=pause_seconds,
                exc_info=None if isinstance(error, OSError) else error,
            )
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(longest_pause_seconds, 2 * pause_seconds)
