"""Plans the loads that are wanted, each in a task of its own, and judges what comes of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, HypuraError, ServerBusy, WorkerFailed
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.budget import Holdings
from hypura_daemon.residency.lease import LoadEvent, Waiter
from hypura_daemon.residency.state import Draft, Entry

PLAN_SECONDS = 120.0
"""A plan takes less than a second; the model's drive may hang."""

_log = structlog.get_logger()


class Planner(Protocol):
    """Plans a load. request.memory_limit_bytes is never 0; whole: it is all that is spare, so take what is needed."""

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan: ...


class Drafting:
    """Begins and ends the drafts of all models. `post` brings what it is given to the supervisor's task."""

    def __init__(self, planner: Planner, holdings: Holdings, post: Callable[..., None]) -> None:
        self._planner = planner
        self._holdings = holdings
        self._post = post
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def begin(self, entry: Entry, request: LoadRequest, memory_limit_bytes: int = 0) -> None:
        """Plan the load, for what is spare now unless memory_limit_bytes or the request says otherwise."""
        assert self.group is not None
        granted_bytes = self._holdings.granted_bytes(request.memory_limit_bytes)
        memory_limit_bytes = granted_bytes or memory_limit_bytes or max(1, self._holdings.spare_bytes(entry.name))
        if entry.reduced_memory_limit_bytes:
            memory_limit_bytes = min(memory_limit_bytes, entry.reduced_memory_limit_bytes)
        wanted_bytes = entry.draft.wanted_bytes if entry.draft is not None else 0
        draft = entry.draft = Draft(request, memory_limit_bytes, wanted_bytes=wanted_bytes)
        entry.tell(LoadEvent(stage="planning"))
        if granted_bytes < request.memory_limit_bytes:
            entry.tell(LoadEvent(stage=f"the daemon's budget of {granted_bytes / 1e9:.2f} GB is the limit"))
        work = self._plan(
            entry.name,
            replace(request, memory_limit_bytes=memory_limit_bytes),
            whole=request.memory_limit_bytes != memory_limit_bytes,
        )
        draft.planning = self.group.create_task(work, name=f"plan {entry.name}")
        draft.planning.add_done_callback(lambda task: self._post(self._ended, entry, draft, task))

    async def _plan(self, name: str, request: LoadRequest, *, whole: bool) -> Plan | HypuraError:
        try:
            async with asyncio.timeout(PLAN_SECONDS):
                return await self._planner(name, request, whole=whole)
        except HypuraError as error:
            return error
        except TimeoutError:
            return ServerBusy(
                f'"{name}" is not planned after {PLAN_SECONDS:g} seconds, since its files, or the machine, do not '
                "answer; look at its drive, and try again"
            )
        except Exception:
            _log.exception("planning failed", model=name)
            return WorkerFailed(f'planning "{name}" met a defect of hypura; see the daemon\'s log')

    def _ended(self, entry: Entry, draft: Draft, task: asyncio.Task[Plan | HypuraError]) -> None:
        draft.planning = None
        if entry.draft is not draft or task.cancelled():
            return  # It was dropped meanwhile.
        result = task.result()
        if isinstance(result, HypuraError):
            self._failed(entry, draft, result)
        elif result.context_tokens < draft.request.least_context_tokens:
            most_tokens = result.context_tokens
            words = f'"{entry.name}" has no more than {most_tokens} tokens'
            self.fail(entry, ContextTooLong(words, largest_tokens=most_tokens))
        else:
            draft.plan = result

    def _failed(self, entry: Entry, draft: Draft, error: HypuraError) -> None:
        """What did not fit into what is spare now may fit later."""
        if not isinstance(error, BudgetTooSmall | ContextTooLong) or not error.required_bytes:
            self.fail(entry, error)
            return
        if entry.reduced_memory_limit_bytes and entry.error:
            self.fail(entry, WorkerFailed(f"{entry.error}; with less memory it cannot be tried once more: {error}"))
            return
        if draft.request.memory_limit_bytes:
            self.fail(entry, error)
            return
        reachable_bytes = self._holdings.reachable_bytes(entry.name)
        if draft.memory_limit_bytes < error.required_bytes <= self._holdings.most_spare_bytes(entry.name):
            self.begin(entry, draft.request, error.required_bytes)  # Others can give way so far.
        elif draft.memory_limit_bytes < error.required_bytes <= reachable_bytes:
            self.wait_for_room(entry, draft, error.required_bytes)
        elif draft.memory_limit_bytes < reachable_bytes:
            self.begin(entry, draft.request, reachable_bytes)  # For an answer that holds at any time.
        elif isinstance(error, BudgetTooSmall) and error.required_bytes <= self._holdings.memory_budget_bytes:
            self.fail(entry, self._holdings.never_room(entry.name, error.required_bytes))
        else:
            self.fail(entry, error)

    def wait_for_room(self, entry: Entry, draft: Draft, wanted_bytes: int) -> None:
        """The load waits until so much memory can be had."""
        if not draft.wanted_bytes:
            entry.tell(LoadEvent(stage=f"waiting for {wanted_bytes / 1e9:.2f} GB of memory that others hold"))
        draft.wanted_bytes = wanted_bytes
        if draft.request.memory_limit_bytes == 0:
            draft.plan = None  # It is made anew for what is spare then.

    def fail(self, entry: Entry, error: HypuraError) -> None:
        """Fail those who wanted this load; whatever is loaded stays, and those who need less are not at fault.

        Those who are content with a smaller context wait for the largest that there can be.
        """
        draft = entry.draft
        assert draft is not None
        entry.drop_draft()
        least, concerned = draft.request.least_context_tokens, entry.askers(base_of(draft.request))
        most = max((waiter.use.load_tokens for waiter in concerned), default=0)
        entry.reduced_memory_limit_bytes = 0
        largest_tokens = error.largest_tokens if isinstance(error, ContextTooLong) else 0
        if largest_tokens and base_of(draft.request) == entry.request:
            entry.most_tokens, entry.most_tokens_bytes = largest_tokens, self._holdings.reachable_bytes(entry.name)
        if most < least:
            entry.least_context_tokens = 0  # An earlier request's wish; what these need is tried next.
            return
        for waiter in concerned:
            if not isinstance(error, BudgetTooSmall | ContextTooLong):
                waiter.fail(error)
            elif waiter.use.load_tokens == most:
                self._lower(entry, waiter, error, largest_tokens)

    def _lower(self, entry: Entry, waiter: Waiter, error: HypuraError, largest_tokens: int) -> None:
        less = waiter.use.lowered(largest_tokens)
        if less is None:
            waiter.fail(error)
            return
        if less.context_tokens < waiter.use.context_tokens:
            _log.warning(
                "a request gets less context than it asked for",
                model=entry.name,
                asked_tokens=waiter.use.context_tokens,
                context_tokens=less.context_tokens,
            )
        waiter.use = less


def base_of(request: LoadRequest) -> LoadRequest:
    """The load's own options, without what requests need beside them."""
    return replace(request, least_context_tokens=0)
