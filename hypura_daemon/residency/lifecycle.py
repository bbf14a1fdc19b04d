"""What happens to the models: the messages that the supervisor's task runs, and what follows from them.

state      what holds                            leaves to
UNLOADED   no worker                             LOADING (a request, once planned and room made)
LOADING    a worker starts and loads             READY (loaded), FAILED (death, error), UNLOADING (unload)
READY      requests hold leases on the worker    UNLOADING (unload, keep-alive, eviction, other options), FAILED (death)
UNLOADING  the worker is being ended             UNLOADED (ended)
FAILED     the last load or worker failed        LOADING (the next request, or by itself when pinned)

A message only notes what is new; `step` then does all that can be done: requests are let in, what has expired
ends, and for what is wanted and not loaded a load is planned, room made, and the load begun, the oldest request
first. A load is planned, and its room found, before anything is given up for it.
"""

import asyncio
import math
from collections.abc import Callable, Iterator

from hypura_daemon.errors import ShuttingDown, WorkerDied
from hypura_daemon.planning.plan import LoadRequest, Mode
from hypura_daemon.residency.admission import admit, deadline, dismissal, enqueue
from hypura_daemon.residency.budget import Holdings
from hypura_daemon.residency.lease import AS_IT_IS, LoadEvent, Use, Waiter
from hypura_daemon.residency.pending_loads import Drafting, Planner
from hypura_daemon.residency.state import Entry, ModelSnapshot, ModelState
from hypura_daemon.residency.worker_tasks import Loads, Resizing
from hypura_daemon.scheduling import eviction
from hypura_daemon.scheduling.memory import grown
from hypura_daemon.scheduling.rules import Crashes, Rules
from hypura_daemon.workers.process import WorkerProcess, WorkerState

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
        self._entries: dict[str, Entry] = {}
        self.holdings = Holdings(memory_budget_bytes, self._entries)
        self._pending_loads = Drafting(planner, self.holdings, post)
        self._loads = Loads(make_worker, self._entries, self.holdings.remains, post, clock)
        self._resizing = Resizing(self._entries, post)
        self._yielding: frozenset[str] = frozenset()

    def run_in(self, group: asyncio.TaskGroup) -> None:
        """Where the tasks of loads run."""
        self._loads.group = self._pending_loads.group = self._resizing.group = group

    @property
    def busy(self) -> bool:
        """Whether a worker or a planning is left."""
        return any(entry.tenure or entry.draft for entry in self._entries.values())

    @property
    def leases(self) -> int:
        """Requests that run."""
        return sum(entry.leases for entry in self._entries.values())

    def snapshots(self) -> tuple[ModelSnapshot, ...]:
        """Models that are loaded, loading or failed, by name."""
        now_seconds = self.clock()
        entries = sorted(self._entries.values(), key=lambda entry: entry.name)
        snapshots = (entry.snapshot(now_seconds) for entry in entries)
        return tuple(snapshot for snapshot in snapshots if snapshot.state is not ModelState.UNLOADED)

    # Messages.

    def wait(self, name: str, waiter: Waiter) -> None:
        """A request wants the model."""
        if self.closing:
            waiter.fail(ShuttingDown(ENDING))
            return
        if name not in self._entries:
            self._entries[name] = Entry(name, self._rules.keep_alive_seconds)
        entry = self._entries[name]
        if waiter.request in (None, entry.request) and self.holdings.reachable_bytes(name) <= entry.most_tokens_bytes:
            # It is known already how much context can be had, so nothing is planned to find that out again.
            while waiter.use.load_tokens > entry.most_tokens and (less := waiter.use.lowered(entry.most_tokens)):
                waiter.use = less
        enqueue(entry, waiter, self.clock())

    def abandon(self, name: str, waiter: Waiter) -> None:
        """The request is gone, whether it was let in or not. The load that it began goes on for the next one."""
        granted = waiter.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self.release(name, granted.result().generation)
        else:
            granted.cancel()

    def _purge(self, entry: Entry) -> None:
        """Forget the waiters that have been told; in the place of a client that left, somebody waits for its load."""
        left = [waiter for waiter in entry.waiters if waiter.granted.cancelled() and not waiter.gone]
        entry.purge()
        for waiter in left:
            self._inherit(entry, waiter)

    def _inherit(self, entry: Entry, waiter: Waiter) -> None:
        """Wait for what this client wanted loaded, without wanting an answer, or memory that others have.

        A load that is only planned is not begun for a client that wanted the model gone right after.
        """
        wanted = entry.draft is not None and waiter.use.keep_alive_seconds != 0.0
        if self.closing or entry.fits(waiter) or any(other.gone for other in entry.waiters):
            return
        if wanted or entry.state is ModelState.LOADING:
            enqueue(entry, self._silent(entry.name, waiter.request, waiter.use, gone=True), self.clock())

    def _silent(self, name: str, request: LoadRequest | None, use: Use, *, gone: bool = False) -> Waiter:
        """A waiter whose lease ends at once."""
        granted = asyncio.get_running_loop().create_future()
        waiter = Waiter(request, not gone, use, False, lambda event: None, granted, self.clock(), gone=gone)
        granted.add_done_callback(lambda _: self._post(self.abandon, name, waiter))
        return waiter

    def release(self, name: str, generation: int) -> None:
        """A request has ended."""
        entry = self._entries.get(name)
        if entry is None or entry.generation != generation or not entry.leases:
            return
        entry.leases -= 1
        entry.idle_since_seconds = self.clock()
        if entry.worker is not None and entry.worker.state is WorkerState.SERVING:
            entry.crashes = Crashes()

    def unload(self, name: str, done: asyncio.Future[bool]) -> None:
        """End the model now, whatever it does; done: once it has ended, whether there was anything to end."""
        entry = self._entries.get(name)
        if entry is None:
            done.set_result(False)
            return
        nothing = entry.tenure is None and entry.draft is None and not entry.waiters
        entry.fail_waiters(WorkerDied(f'"{name}" was unloaded before this request was served; ask again to load it'))
        entry.request, entry.pinned, entry.crashes = LoadRequest(), False, Crashes()
        entry.forget_wishes()
        entry.drop_draft()
        if entry.tenure is None:
            entry.state = ModelState.UNLOADED  # A failure is forgotten, too.
        if nothing:
            done.set_result(False)
        else:
            entry.unloaded.append(done)
            self._loads.end(entry, "unloaded by request")

    def retire(self, name: str, done: asyncio.Future[bool]) -> None:
        """Unload the model as soon as no request runs; done: once it has ended, or at once if one still runs."""
        entry = self._entries.get(name)
        if entry is None or entry.tenure is None:
            done.set_result(False)
            return
        entry.pinned, entry.asked_keep_alive_seconds = False, 0.0
        if entry.state is ModelState.UNLOADING or (
            entry.state is ModelState.READY and not entry.leases and not entry.waiters
        ):
            entry.unloaded.append(done)
            self._loads.expire(entry)
        else:
            done.set_result(True)

    def outdated(self, name: str, worker_pid: int) -> None:
        """The files of a loaded model changed. What streams from them ends; what is resident and answers, goes on."""
        entry = self._entries.get(name)
        if entry is None or entry.state is not ModelState.READY or entry.worker is None or entry.plan is None:
            return
        if entry.worker.pid == worker_pid and not (entry.leases and entry.plan.mode is Mode.RESIDENT):
            self._loads.end(entry, "its files changed")

    def limit(self, memory_budget_bytes: int, others: str = "") -> None:
        """Another budget from now on; others: the programs that need the rest."""
        self.holdings.memory_budget_bytes, self.holdings.others = memory_budget_bytes, others

    def close(self) -> None:
        """Refuse those who wait and those who come."""
        self.closing = True
        for entry in self._entries.values():
            entry.fail_waiters(ShuttingDown(ENDING))
            entry.drop_draft()

    def end_all(self) -> None:
        """End everything."""
        self.close()
        for entry in self._entries.values():
            self._loads.end(entry, "hypurad is ending")

    # What follows.

    def step(self) -> None:
        """Do all that can be done now."""
        now_seconds = self.clock()
        for entry in self._entries.values():
            self._purge(entry)
            self._send_away(entry)
        wishes, holders = self.holdings.wishes(), self.holdings.holders()
        self._yielding = eviction.yielding(self.holdings.memory_budget_bytes, holders, wishes, now_seconds, self._rules)
        for entry in self._entries.values():
            admit(entry, self._rules, now_seconds, closed=entry.name in self._yielding)
            self._dismiss(entry, now_seconds)
            if not entry.waiters and now_seconds >= entry.expires_seconds:
                self._loads.expire(entry)
            if not self.closing and now_seconds >= entry.restart_at_seconds:
                self._restart(entry)
        if not self.closing:
            self._keep_to_budget()
            self._pursue_all(now_seconds)
        for entry in list(self._entries.values()):
            self._settle(entry)

    def _send_away(self, entry: Entry) -> None:
        """Those who hold a left client's place wait for no memory, and for no other client's end."""
        draft = entry.draft
        if entry.state is ModelState.READY or (draft is not None and draft.wanted_bytes):
            for waiter in entry.waiters:
                if waiter.gone and not entry.fits(waiter):
                    waiter.granted.cancel()
            entry.purge()

    def wake_seconds(self) -> float:
        """When the next step is due if no message comes; infinity for never."""
        now_seconds = self.clock()
        return min((moment for moment in self._moments() if moment > now_seconds), default=math.inf)

    def _moments(self) -> Iterator[float]:
        wished_for = bool(self.holdings.wishes())
        for entry in self._entries.values():
            yield entry.expires_seconds
            yield entry.restart_at_seconds
            if wished_for:
                yield entry.resident_since_seconds + self._rules.min_residency_seconds
            for waiter in entry.waiters:
                yield waiter.since_seconds + self._rules.turn_wait_seconds
                if waiter.blocked_since_seconds is not None:
                    yield waiter.blocked_since_seconds + self._rules.turn_wait_seconds
                if (due := self._deadline(entry, waiter)) is not None:
                    yield due

    def _deadline(self, entry: Entry, waiter: Waiter) -> float | None:
        closed = entry.name in self._yielding
        return deadline(entry, waiter, self._rules, self._reload_wait_seconds, closed=closed)

    def _dismiss(self, entry: Entry, now_seconds: float) -> None:
        for waiter in entry.waiters:
            due = self._deadline(entry, waiter)
            if due is not None and now_seconds >= due:
                waited_seconds = due - (waiter.blocked_since_seconds or due)
                waiter.fail(dismissal(entry, waiter, self.holdings, waited_seconds))
        entry.purge()

    def _pursue_all(self, now_seconds: float) -> None:
        """Do what the waiting need, the oldest first; one load is planned at a time, or two would get one room."""
        for entry in self._entries.values():
            if entry.draft is not None and entry.draft.request != entry.wanted():
                entry.drop_draft()
        waiting = [(first.since_seconds, entry) for entry in self._entries.values() if (first := entry.unserved())]
        planning = False
        for since_seconds, entry in sorted(waiting, key=lambda pair: pair[0]):
            held_back = eviction.held_back(self.holdings.wishes(), entry.name, since_seconds, now_seconds, self._rules)
            if not held_back and not planning:
                self._pursue(entry)
            planning = planning or (
                entry.state is not ModelState.READY and entry.draft is not None and entry.draft.planning is not None
            )

    def _pursue(self, entry: Entry) -> None:
        """Bring the load that the entry's waiters need one step further, if it can be."""
        wanted = entry.wanted()
        if wanted is None or entry.state in (ModelState.LOADING, ModelState.UNLOADING):
            return
        draft = entry.draft
        if draft is None:
            self._pending_loads.begin(entry, wanted)
        elif draft.planning is not None or self.holdings.most_spare_bytes(entry.name) < draft.wanted_bytes:
            return
        elif draft.plan is None:
            self._pending_loads.begin(entry, wanted, max(self.holdings.spare_bytes(entry.name), draft.wanted_bytes))
        elif (room := self.holdings.room(entry.name, draft.plan.memory_limit_bytes)) is None:
            self._pending_loads.wait_for_room(entry, draft, draft.plan.memory_limit_bytes)
        elif room.limits:
            entry.tell(LoadEvent(stage=f"taking memory from {', '.join(room.limits)}"))
            self._resizing.begin(room.limits)
        elif entry.state is not ModelState.READY:
            self._loads.begin(entry, draft, room.victims)
        elif entry.leases:
            draft.wanted_bytes = 0  # There is room: it only waits for those that run.
        else:
            self._loads.end(entry, "loaded anew with other options")

    def _keep_to_budget(self) -> None:
        """Caches shrink when the budget did, and grow again when nobody waits for what is free."""
        excess = self.holdings.excess()
        for name in excess.victims:
            self._loads.end(self._entries[name], "the system needs its memory")
        self._resizing.begin(excess.limits)
        if not excess.limits and not any(entry.draft or entry.unserved() for entry in self._entries.values()):
            self._resizing.begin(grown(self.holdings.memory_budget_bytes, self.holdings.holders()))

    def _restart(self, entry: Entry) -> None:
        """A pinned model comes back by itself, as if somebody had asked for it who wants no answer."""
        entry.restart_at_seconds = math.inf
        if entry.state is ModelState.FAILED and not entry.waiters:
            enqueue(entry, self._silent(entry.name, None, AS_IT_IS), self.clock())

    def _settle(self, entry: Entry) -> None:
        """Tells those who waited for its end, and forgets a model of which nothing is to be known."""
        if entry.tenure is not None:
            return
        for done in entry.unloaded:
            if not done.done():
                done.set_result(True)
        entry.unloaded.clear()
        if entry.forgettable:
            del self._entries[entry.name]
