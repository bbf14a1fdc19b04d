"""One worker's time with one model: room made, started, loaded, watched until it ends."""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TypeVar

import structlog

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, ServerBusy, WorkerFailed
from hypura_daemon.planning.types import Mode, Plan
from hypura_daemon.planning.wire import plan_to_proto
from hypura_daemon.residency.snapshot import LoadEvent
from hypura_daemon.workers.process import WorkerProcess

_log = structlog.get_logger()
_E = TypeVar("_E", bound=Exception)


News = WorkerProcess | LoadEvent | worker_pb2.LoadedModel


def worker_environment(plan: Plan) -> dict[str, str]:
    """The daemon's own, with what llama.cpp reads from there."""
    environment = dict(os.environ)
    # It would run a debugger on itself, whose output hides the failed assertion's message.
    environment.setdefault("GGML_NO_BACKTRACE", "1")
    # Weights in huge pages where the system leaves that to programs; other C libraries than glibc do not look.
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    if plan.mode in (Mode.EXPERT_STREAMING, Mode.DENSE_STREAMING):
        # A recorded CUDA graph replays addresses, and streamed weights move.
        environment["GGML_CUDA_DISABLE_GRAPHS"] = "1"
    if plan.spin_count is not None and not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = str(plan.spin_count)
    return environment


async def tenure(
    make_worker: Callable[[], WorkerProcess],
    plan: Plan,
    leaving: Mapping[asyncio.Task[HypuraError], WorkerProcess | None],
    tell: Callable[[News], None],
) -> HypuraError:
    """Runs until the worker has ended, and says why. Cancel it to end the worker.

    leaving: tenures whose memory this one needs, and their workers. tell: called in the event loop, must not block.
    """
    try:
        if leaving:
            tell(LoadEvent(stage="waiting for memory of other models"))
            await asyncio.wait(leaving)
            for worker in leaving.values():
                if worker is not None and worker.hangs:
                    raise ServerBusy(
                        f'"{plan.model}" finds no room: worker {worker.pid} of "{worker.model}" was killed and hangs '
                        "in the system with its memory; look at the drive that it reads from, and try again"
                    )
        return await _run(make_worker(), plan, tell)
    except* HypuraError as group:
        error = _first(group)
    except* Exception as group:
        _log.exception("a worker's tenure failed", model=plan.model, exc_info=group)
        error = WorkerFailed(f'"{plan.model}" met a defect of hypura ({_first(group)!r}); see the daemon\'s log')
    return error


async def _run(worker: WorkerProcess, plan: Plan, tell: Callable[[News], None]) -> HypuraError:
    async with asyncio.TaskGroup() as tasks:
        try:
            tell(LoadEvent(stage="starting a worker"))
            tell(worker)
            await worker.start(tasks, worker_environment(plan))
            tell(LoadEvent(stage="loading"))
            if not await _load(worker, plan, tell):
                raise WorkerFailed(f'worker {worker.pid} of "{plan.model}" ended Load without a result; load it again')
            death = await worker.wait()
        finally:
            await worker.stop()
    return death.error()


async def _load(worker: WorkerProcess, plan: Plan, tell: Callable[[News], None]) -> bool:
    async with aclosing(worker.load(plan_to_proto(plan))) as messages:
        async for message in messages:
            if message.HasField("loaded"):
                tell(message.loaded)
                return True
            tell(LoadEvent(share=message.progress))
    return False


def _first(group: ExceptionGroup[_E]) -> _E:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, ExceptionGroup) else inner
