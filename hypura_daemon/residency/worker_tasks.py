"""The tasks of the models' workers: run one for each loaded model, resize it, end it.

start ──► task: run_worker ──► wait for memory, start the process, load, wait for its end
              │ news: worker, progress, loaded, then the error that it ended with
              ▼
          post ──► the supervisor's task ──► SupervisedModel
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import structlog

from hypura.v1 import worker_pb2
from hypura_daemon.errors import HypuraError, ServerBusy, WorkerFailed
from hypura_daemon.planning.plan import Mode, Plan
from hypura_daemon.planning.wire import plan_to_proto
from hypura_daemon.residency.lease import LoadEvent
from hypura_daemon.residency.state import ModelState, SupervisedModel
from hypura_daemon.scheduling.eviction import Holder
from hypura_daemon.workers.process import WorkerProcess

WorkerNews = WorkerProcess | LoadEvent | worker_pb2.LoadedModel
"""What run_worker reports: the process before it starts, how far the load is, and the loaded model."""

_log = structlog.get_logger()
_E = TypeVar("_E", bound=Exception)


class WorkerTasks:
    """Starts and ends the tasks. `post` runs a function in the supervisor's task, where all methods run too."""

    def __init__(
        self,
        make_worker: Callable[[str], WorkerProcess],
        models: Mapping[str, SupervisedModel],
        hanging: dict[int, Holder],
        post: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        self._make_worker = make_worker
        self._models = models
        self._hanging = hanging
        self._post = post
        self._clock = clock
        self._generations = itertools.count(1)
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def start(self, model: SupervisedModel, victims: tuple[str, ...]) -> None:
        """Unload the victims, and begin the model's pending load, which is planned."""
        assert self.group is not None
        for victim in victims:
            model.notify(LoadEvent(stage=f"unloading {victim} to make room"))
            self.end(self._models[victim], f'making room for "{model.name}"')
        others = self._models.values()
        leaving = {m.worker_task: m.worker for m in others if m.worker_task and m.state is ModelState.UNLOADING}
        generation = next(self._generations)
        plan = model.start_loading(generation)
        work = run_worker(
            partial(self._make_worker, model.name), plan, leaving, partial(self._post, self._report, model, generation)
        )
        task = self.group.create_task(work, name=f"worker of {model.name}")
        model.set_worker_task(task)
        task.add_done_callback(lambda task: self._post(self._ended, model, task))

    def end(self, model: SupervisedModel, why: str) -> None:
        """End its worker, if it has one."""
        if model.start_unloading():
            _log.info("unloading", model=model.name, why=why)

    def expire(self, model: SupervisedModel) -> None:
        """End a model for which no request came in time."""
        self.end(model, f"not used for {model.keep_alive_seconds:g} seconds")
        model.forget_wishes()

    def resize(self, limits: Mapping[str, int]) -> None:
        """Bring these models' workers to these limits; one that is being resized already gets its limit later."""
        assert self.group is not None
        for name, limit_bytes in limits.items():
            model = self._models[name]
            if model.worker is None or model.next_memory_limit_bytes or limit_bytes == model.memory_limit_bytes:
                continue
            _log.info("resizing", model=name, from_bytes=model.memory_limit_bytes, to_bytes=limit_bytes)
            model.start_resizing(limit_bytes)
            task = self.group.create_task(_resize(model.worker, limit_bytes), name=f"resize {name}")
            task.add_done_callback(partial(self._post, self._resized, model, model.generation, limit_bytes))

    def _report(self, model: SupervisedModel, generation: int, news: WorkerNews) -> None:
        if model.generation != generation:
            return
        match news:
            case WorkerProcess():
                model.set_worker(news)
            case worker_pb2.LoadedModel():
                model.finish_loading(news, self._clock())
            case LoadEvent():
                model.report_progress(news)

    def _ended(self, model: SupervisedModel, task: asyncio.Task[HypuraError]) -> None:
        if model.worker is not None and model.worker.hangs:
            self._count_hanging(model, model.worker)
        if task.cancelled() or model.state is ModelState.UNLOADING:
            model.finish_unloading()
            return
        error = task.result()
        _log.error("model failed", model=model.name, error=str(error))
        model.fail(error, self._clock())

    def _count_hanging(self, model: SupervisedModel, worker: WorkerProcess) -> None:
        """The memory of a worker that was killed and hangs in the system counts until it is gone."""
        self._hanging[worker.pid] = Holder(
            name=model.name,
            memory_limit_bytes=max(model.memory_limit_bytes, model.next_memory_limit_bytes),
            kept=f"worker {worker.pid} was killed and hangs in the system",
            pinned=True,
        )
        waiting = asyncio.ensure_future(worker.gone.wait())
        waiting.add_done_callback(lambda _: self._post(self._hanging.pop, worker.pid, None))

    def _resized(
        self, model: SupervisedModel, generation: int, limit_bytes: int, task: asyncio.Task[int | HypuraError]
    ) -> None:
        if model.generation != generation:
            return
        result = task.result() if not task.cancelled() else None
        if not model.finish_resizing(result if isinstance(result, int) else None):
            _log.warning("a worker kept its memory", model=model.name, requested_bytes=limit_bytes, result=str(result))


async def run_worker(
    make_worker: Callable[[], WorkerProcess],
    plan: Plan,
    leaving: Mapping[asyncio.Task[HypuraError], WorkerProcess | None],
    report: Callable[[WorkerNews], None],
) -> HypuraError:
    """Run a worker until it has ended, and return why it did. Cancel it to end the worker.

    leaving: tasks of workers whose memory this one needs, and these workers. report: called in the event loop, must
    not block.
    """
    try:
        if leaving:
            report(LoadEvent(stage="waiting for memory of other models"))
            await asyncio.wait(leaving)
            for worker in leaving.values():
                if worker is not None and worker.hangs:
                    raise ServerBusy(
                        f'"{plan.model}" finds no room: worker {worker.pid} of "{worker.model}" was killed and hangs '
                        "in the system with its memory; look at the drive that it reads from, and try again"
                    )
        return await _start_and_load(make_worker(), plan, report)
    except* HypuraError as group:
        error = _first(group)
    except* Exception as group:
        _log.exception("running a worker failed", model=plan.model, exc_info=group)
        error = WorkerFailed(f'"{plan.model}" failed with an internal error ({_first(group)!r}); see the daemon\'s log')
    return error


async def _start_and_load(worker: WorkerProcess, plan: Plan, report: Callable[[WorkerNews], None]) -> HypuraError:
    async with asyncio.TaskGroup() as tasks:
        try:
            report(LoadEvent(stage="starting a worker"))
            report(worker)
            await worker.start(tasks, worker_environment(plan))
            report(LoadEvent(stage="loading"))
            if not await _load(worker, plan, report):
                raise WorkerFailed(f'worker {worker.pid} of "{plan.model}" ended Load without a result; load it again')
            death = await worker.wait()
        finally:
            await worker.stop()
    return death.error()


async def _load(worker: WorkerProcess, plan: Plan, report: Callable[[WorkerNews], None]) -> bool:
    async with aclosing(worker.load(plan_to_proto(plan))) as messages:
        async for message in messages:
            if message.HasField("loaded"):
                report(message.loaded)
                return True
            report(LoadEvent(share=message.progress))
    return False


async def _resize(worker: WorkerProcess, limit_bytes: int) -> int | HypuraError:
    try:
        return await worker.resize(limit_bytes)
    except HypuraError as error:
        return error
    except Exception:
        _log.exception("resizing failed", model=worker.model)
        return WorkerFailed(f'resizing "{worker.model}" failed with an internal error')


def worker_environment(plan: Plan) -> dict[str, str]:
    """The daemon's own environment, with what llama.cpp reads from there."""
    environment = dict(os.environ)
    # It would run a debugger on itself, whose output hides the failed assertion's message.
    environment.setdefault("GGML_NO_BACKTRACE", "1")
    # Weights in huge pages where the system leaves that to programs; C libraries other than glibc ignore it.
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    if plan.mode in (Mode.EXPERT_STREAMING, Mode.DENSE_STREAMING):
        # A recorded CUDA graph replays addresses, and streamed weights move.
        environment["GGML_CUDA_DISABLE_GRAPHS"] = "1"
    if plan.spin_count is not None and not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = str(plan.spin_count)
    return environment


def _first(group: ExceptionGroup[_E]) -> _E:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, ExceptionGroup) else inner
