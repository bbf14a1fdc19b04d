"""Work that goes on beside the requests: kept running, or out of the event loop's way.

One such task must not end the daemon, whatever fails in it: it is told, and tried again after a pause.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

_log = structlog.get_logger()
_T = TypeVar("_T")


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


async def in_own_thread(work: Callable[[], _T], *, name: str) -> _T:
    """What the work returns or raises, done in a thread of its own.

    For what may hang with the system, as a read from a drive that is gone: such a thread holds up neither the pool
    that everything else shares nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def tell(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(tell, result, failure)
        except RuntimeError:
            return  # the loop has ended, and with it whoever waited

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
