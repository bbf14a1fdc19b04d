"""What happens to the models: the messages that the supervisor's task runs, and what follows from them.

A message only notes what is new in a model's state (see state.py). `step` then does all that can be done: requests
are admitted or refused, idle models that have expired end, and for what is wanted and not loaded a load is planned,
room made, and the load begun, the oldest request first. A load is planned, and its room found, before anything is
given up for it.
"""

import asyncio
import math
from collections.abc import Callable, Iterator

from hypura_daemon.errors import ShuttingDown, WorkerDied
from hypura_daemon.planning.plan import LoadRequest, Mode
from hypura_daemon.residency.admission import admit, deadline, enqueue, refusal
from hypura_daemon.residency.budget import MemoryBudget
from hypura_daemon.residency.lease import AS_IT_IS, LoadEvent, Use, Waiter
from hypura_daemon.residency.pending_loads import PendingLoads, Planner
from hypura_daemon.residency.state import ModelSnapshot, ModelState, SupervisedModel
from hypura_daemon.residency.worker_tasks import WorkerTasks
from hypura_daemon.scheduling import eviction
from hypura_daemon.scheduling.memory import grown_limits
from hypura_daemon.scheduling.rules import Rules
from hypura_daemon.workers.process import WorkerProcess

ENDING = "hypurad is ending and takes no new requests; start it again"


class Lifecycle:
    """Every model's state. Its methods are called by one task only, and do not block."""

    def __init__(
        self,
        planner: Planner,
        make_worker: Callable[[str], WorkerProcess],
        post: Callable[..., None],
        *,
        memory_budget_bytes: int,
        reload_wait_seconds: float,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self.closing = False
        self.clock = clock
        self._post = post
        self._reload_wait_seconds = reload_wait_seconds
        self._rules = rules
        self._models: dict[str, SupervisedModel] = {}
        self.budget = MemoryBudget(memory_budget_bytes, self._models)
        self._pending_loads = PendingLoads(planner, self.budget, post)
        self._worker_tasks = WorkerTasks(make_worker, self._models, self.budget.hanging, post, clock)
        self._yielding: frozenset[str] = frozenset()  # Models that admit no request, so that another finds room.

    def run_in(self, group: asyncio.TaskGroup) -> None:
        """Where the tasks of planning and of workers run."""
        self._pending_loads.group = self._worker_tasks.group = group

    @property
    def busy(self) -> bool:
        """Whether a worker runs or a load is pending."""
        return any(model.worker_task or model.pending for model in self._models.values())

    @property
    def leases(self) -> int:
        """Requests that run."""
        return sum(model.leases for model in self._models.values())

    def snapshots(self) -> tuple[ModelSnapshot, ...]:
        """Models that are loaded, loading or failed, by name."""
        now_seconds = self.clock()
        models = sorted(self._models.values(), key=lambda model: model.name)
        snapshots = (model.snapshot(now_seconds) for model in models)
        return tuple(snapshot for snapshot in snapshots if snapshot.state is not ModelState.UNLOADED)

    # Messages.

    def wait(self, name: str, waiter: Waiter) -> None:
        """A request needs the model."""
        if self.closing:
            waiter.fail(ShuttingDown(ENDING))
            return
        if name not in self._models:
            self._models[name] = SupervisedModel(name, self._rules.keep_alive_seconds)
        model = self._models[name]
        known = self.budget.reachable_bytes(name) <= model.largest_context_bytes
        if waiter.request in (None, model.request) and known:
            # How much context can be had is known already, so nothing is planned to find that out again.
            largest_tokens = model.largest_context_tokens
            while waiter.use.load_tokens > largest_tokens and (less := waiter.use.lowered(largest_tokens)):
                waiter.accept(less)
        enqueue(model, waiter, self.clock())

    def abandon(self, name: str, waiter: Waiter) -> None:
        """The client has left, whether its request was admitted or not. The load that it began goes on."""
        granted = waiter.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self.release(name, granted.result().generation)
        else:
            granted.cancel()

    def release(self, name: str, generation: int) -> None:
        """A request has ended."""
        model = self._models.get(name)
        if model is not None:
            model.release(generation, self.clock())

    def unload(self, name: str, done: asyncio.Future[bool]) -> None:
        """End the model now, whatever it does; done: once it has ended, whether there was anything to end."""
        model = self._models.get(name)
        if model is None:
            done.set_result(False)
            return
        nothing = model.worker_task is None and model.pending is None and not model.waiters
        model.fail_waiters(WorkerDied(f'"{name}" was unloaded before this request was served; ask again to load it'))
        model.reset()
        if nothing:
            done.set_result(False)
        else:
            model.add_unload_result(done)
            self._worker_tasks.end(model, "unloaded by request")

    def retire(self, name: str, done: asyncio.Future[bool]) -> None:
        """Unload the model as soon as no request runs; done: once it has ended, or at once if one still runs."""
        model = self._models.get(name)
        if model is None or model.worker_task is None:
            done.set_result(False)
            return
        model.stop_keeping()
        if model.state is ModelState.UNLOADING or (
            model.state is ModelState.READY and not model.leases and not model.waiters
        ):
            model.add_unload_result(done)
            self._worker_tasks.expire(model)
        else:
            done.set_result(True)

    def end_outdated(self, name: str, worker_pid: int) -> None:
        """The files of a loaded model changed. It ends, unless it is resident in memory and answers requests."""
        model = self._models.get(name)
        if model is None or model.state is not ModelState.READY or model.worker is None or model.plan is None:
            return
        if model.worker.pid == worker_pid and not (model.leases and model.plan.mode is Mode.RESIDENT):
            self._worker_tasks.end(model, "its files changed")

    def set_budget(self, current_budget_bytes: int, other_programs: str = "") -> None:
        """Another budget from now on; other_programs: those that need the rest."""
        self.budget.current_budget_bytes, self.budget.other_programs = current_budget_bytes, other_programs

    def close(self) -> None:
        """Refuse the requests that wait and those that come."""
        self.closing = True
        for model in self._models.values():
            model.fail_waiters(ShuttingDown(ENDING))
            model.drop_pending_load()

    def end_all(self) -> None:
        """End everything."""
        self.close()
        for model in self._models.values():
            self._worker_tasks.end(model, "hypurad is ending")

    # What follows.

    def step(self) -> None:
        """Do all that can be done now."""
        now_seconds = self.clock()
        for model in self._models.values():
            self._drop_answered(model)
            self._drop_places_of_left_clients(model)
        wishes, holders = self.budget.wishes(), self.budget.holders()
        self._yielding = eviction.yielding(self.budget.current_budget_bytes, holders, wishes, now_seconds, self._rules)
        for model in self._models.values():
            admit(model, self._rules, now_seconds, closed=model.name in self._yielding)
            self._refuse_overdue(model, now_seconds)
            if not model.waiters and now_seconds >= model.expires_seconds:
                self._worker_tasks.expire(model)
            if not self.closing and now_seconds >= model.restart_at_seconds:
                self._restart(model)
        if not self.closing:
            self._keep_to_budget()
            self._advance_loads(now_seconds)
        for model in list(self._models.values()):
            self._forget_ended(model)

    def wake_seconds(self) -> float:
        """When the next step is due if no message comes; infinity for never."""
        now_seconds = self.clock()
        return min((moment for moment in self._moments() if moment > now_seconds), default=math.inf)

    def _moments(self) -> Iterator[float]:
        """The times at which something may be due."""
        memory_is_awaited = bool(self.budget.wishes())
        for model in self._models.values():
            yield model.expires_seconds
            yield model.restart_at_seconds
            if memory_is_awaited:
                yield model.resident_since_seconds + self._rules.min_residency_seconds
            for waiter in model.waiters:
                yield waiter.since_seconds + self._rules.turn_wait_seconds
                if waiter.blocked_since_seconds is not None:
                    yield waiter.blocked_since_seconds + self._rules.turn_wait_seconds
                if (due := self._deadline(model, waiter)) is not None:
                    yield due

    # Requests: those that have left, and those that waited too long.

    def _drop_answered(self, model: SupervisedModel) -> None:
        """Forget the waiters that have an answer; a silent one takes the place of a client that left."""
        left = [waiter for waiter in model.waiters if waiter.granted.cancelled() and not waiter.client_left]
        model.drop_answered_waiters()
        for waiter in left:
            self._keep_place(model, waiter)

    def _keep_place(self, model: SupervisedModel, waiter: Waiter) -> None:
        """Wait for what this client wanted loaded, without taking a lease, or memory that others have.

        A load that is only planned is not begun for a client that wanted the model unloaded right after.
        """
        wanted = model.pending is not None and waiter.use.keep_alive_seconds != 0.0
        if self.closing or model.fits(waiter) or any(other.client_left for other in model.waiters):
            return
        if wanted or model.state is ModelState.LOADING:
            silent = self._silent_waiter(model.name, waiter.request, waiter.use, client_left=True)
            enqueue(model, silent, self.clock())

    def _silent_waiter(self, name: str, request: LoadRequest | None, use: Use, *, client_left: bool = False) -> Waiter:
        """A waiter whose lease ends at once: for a client that left, or for a pinned model, which stays pinned."""
        granted = asyncio.get_running_loop().create_future()
        waiter = Waiter(
            request, not client_left, use, False, lambda event: None, granted, self.clock(), client_left=client_left
        )
        granted.add_done_callback(lambda _: self._post(self.abandon, name, waiter))
        return waiter

    def _drop_places_of_left_clients(self, model: SupervisedModel) -> None:
        """A client that left keeps no place where it would wait for memory, or for another client's end."""
        pending = model.pending
        if model.state is ModelState.READY or (pending is not None and pending.awaited_bytes):
            for waiter in model.waiters:
                if waiter.client_left and not model.fits(waiter):
                    waiter.granted.cancel()
            model.drop_answered_waiters()

    def _deadline(self, model: SupervisedModel, waiter: Waiter) -> float | None:
        closed = model.name in self._yielding
        return deadline(model, waiter, self._rules, self._reload_wait_seconds, closed=closed)

    def _refuse_overdue(self, model: SupervisedModel, now_seconds: float) -> None:
        for waiter in model.waiters:
            due = self._deadline(model, waiter)
            if due is not None and now_seconds >= due:
                waited_seconds = due - (waiter.blocked_since_seconds or due)
                waiter.fail(refusal(model, waiter, self.budget, waited_seconds))
        model.drop_answered_waiters()

    # Loads.

    def _advance_loads(self, now_seconds: float) -> None:
        """Advance the wanted loads, the oldest first; one is planned at a time, or two would get the same room."""
        for model in self._models.values():
            if model.pending is not None and model.pending.request != model.wanted_load():
                model.drop_pending_load()
        waiting = [(first.since_seconds, model) for model in self._models.values() if (first := model.first_unserved())]
        planning = False
        for since_seconds, model in sorted(waiting, key=lambda pair: pair[0]):
            held_back = eviction.held_back(self.budget.wishes(), model.name, since_seconds, now_seconds, self._rules)
            if not held_back and not planning:
                self._advance_load(model)
            planning = planning or (
                model.state is not ModelState.READY and model.pending is not None and model.pending.planning is not None
            )

    def _advance_load(self, model: SupervisedModel) -> None:
        """Bring the load that the model's waiters need one step further, if it can be."""
        wanted = model.wanted_load()
        if wanted is None or model.state in (ModelState.LOADING, ModelState.UNLOADING):
            return
        pending = model.pending
        if pending is None:
            self._pending_loads.plan(model, wanted)
        elif pending.planning is not None or self.budget.most_spare_bytes(model.name) < pending.awaited_bytes:
            return
        elif pending.plan is None:
            self._pending_loads.plan(model, wanted, max(self.budget.spare_bytes(model.name), pending.awaited_bytes))
        elif (room := self.budget.room(model.name, pending.plan.memory_limit_bytes)) is None:
            self._pending_loads.wait_for_memory(model, pending, pending.plan.memory_limit_bytes)
        elif room.limits:
            model.notify(LoadEvent(stage=f"taking memory from {', '.join(room.limits)}"))
            self._worker_tasks.resize(room.limits)
        elif model.state is not ModelState.READY:
            self._worker_tasks.start(model, room.victims)
        elif model.leases:
            pending.stop_waiting_for_memory()  # There is room: it only waits for the requests that run.
        else:
            self._worker_tasks.end(model, "reloaded with other options")

    def _keep_to_budget(self) -> None:
        """Caches shrink when the budget did, and grow again when no request waits for what is free."""
        excess = self.budget.excess()
        for name in excess.victims:
            self._worker_tasks.end(self._models[name], "the system needs its memory")
        self._worker_tasks.resize(excess.limits)
        if not excess.limits and not any(model.pending or model.first_unserved() for model in self._models.values()):
            self._worker_tasks.resize(grown_limits(self.budget.current_budget_bytes, self.budget.holders()))

    def _restart(self, model: SupervisedModel) -> None:
        """Load a pinned model again by itself, as for a request that needs no answer."""
        model.clear_restart()
        if model.state is ModelState.FAILED and not model.waiters:
            enqueue(model, self._silent_waiter(model.name, None, AS_IT_IS), self.clock())

    def _forget_ended(self, model: SupervisedModel) -> None:
        """Answer the callers that waited for the model's end, and forget it if nothing of it must be remembered."""
        if model.worker_task is None:
            model.set_unload_results()
            if model.forgettable:
                del self._models[model.name]
