"""Has workers give memory back, or take more, each in a task of its own."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from hypura_daemon.errors import HypuraError, WorkerFailed
from hypura_daemon.residency.entry import Entry
from hypura_daemon.workers.process import WorkerProcess

_log = structlog.get_logger()


class Resizing:
    """`post` brings what it is given to the supervisor's task."""

    def __init__(self, entries: Mapping[str, Entry], post: Callable[..., None]) -> None:
        self._entries = entries
        self._post = post
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def begin(self, limits: Mapping[str, int]) -> None:
        """Bring these models to these limits; those that are being brought to others come to it later."""
        assert self.group is not None
        for name, limit_bytes in limits.items():
            entry = self._entries[name]
            if entry.worker is None or entry.resizing_to_bytes or limit_bytes == entry.limit_bytes:
                continue
            _log.info("resizing", model=name, from_bytes=entry.limit_bytes, to_bytes=limit_bytes)
            entry.resizing_to_bytes = limit_bytes
            task = self.group.create_task(_resize(entry.worker, limit_bytes), name=f"resize {name}")
            task.add_done_callback(partial(self._post, self._ended, entry, entry.generation))

    def _ended(self, entry: Entry, generation: int, task: asyncio.Task[int | HypuraError]) -> None:
        if entry.generation != generation:
            return
        asked_bytes, entry.resizing_to_bytes = entry.resizing_to_bytes, 0
        result = task.result() if not task.cancelled() else None
        if isinstance(result, int):
            entry.limit_bytes = result
        if result != asked_bytes:
            entry.rigid = True  # It cannot do what it said: whoever needs room must find it elsewhere.
            _log.warning("a worker kept its memory", model=entry.name, asked_bytes=asked_bytes, result=str(result))


async def _resize(worker: WorkerProcess, limit_bytes: int) -> int | HypuraError:
    try:
        return await worker.resize(limit_bytes)
    except HypuraError as error:
        return error
    except Exception:
        _log.exception("resizing failed", model=worker.model)
        return WorkerFailed(f'resizing "{worker.model}" met a defect of hypura')
