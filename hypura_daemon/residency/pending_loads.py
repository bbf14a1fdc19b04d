"""The loads that are wanted and not begun: each is planned in a task of its own, and then begins, waits or fails."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, HypuraError, ServerBusy, WorkerFailed
from hypura_daemon.planning.plan import LoadRequest, Plan
from hypura_daemon.residency.budget import MemoryBudget
from hypura_daemon.residency.lease import LoadEvent, Waiter
from hypura_daemon.residency.state import PendingLoad, SupervisedModel, options_of

PLAN_SECONDS = 120.0
"""A plan takes less than a second; the model's drive may hang."""

_log = structlog.get_logger()


class Planner(Protocol):
    """Plans a load. request.memory_limit_bytes is never 0; whole: it is all that is spare, so take what is needed."""

    async def __call__(self, name: str, request: LoadRequest, *, whole: bool) -> Plan: ...


class PendingLoads:
    """Plans the pending loads of all models. `post` runs a function in the supervisor's task, as a message."""

    def __init__(self, planner: Planner, budget: MemoryBudget, post: Callable[..., None]) -> None:
        self._planner = planner
        self._budget = budget
        self._post = post
        self.group: asyncio.TaskGroup | None = None  # Set when the supervisor runs.

    def plan(self, model: SupervisedModel, request: LoadRequest, offered_bytes: int = 0) -> None:
        """Plan the load, for what is spare now unless offered_bytes or the request says otherwise."""
        assert self.group is not None
        granted_bytes = self._budget.granted_bytes(request.memory_limit_bytes)
        offered_bytes = granted_bytes or offered_bytes or max(1, self._budget.spare_bytes(model.name))
        if model.reduced_memory_limit_bytes:
            offered_bytes = min(offered_bytes, model.reduced_memory_limit_bytes)
        pending = model.set_pending_load(request, offered_bytes)
        model.notify(LoadEvent(stage="planning"))
        if granted_bytes < request.memory_limit_bytes:
            model.notify(LoadEvent(stage=f"the daemon's budget of {granted_bytes / 1e9:.2f} GB is the limit"))
        work = self._plan(
            model.name,
            replace(request, memory_limit_bytes=offered_bytes),
            whole=request.memory_limit_bytes != offered_bytes,
        )
        planning = self.group.create_task(work, name=f"plan {model.name}")
        pending.start_planning(planning)
        planning.add_done_callback(lambda task: self._post(self._planned, model, pending, task))

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
            return WorkerFailed(f'planning "{name}" failed with an internal error; see the daemon\'s log')

    def _planned(self, model: SupervisedModel, pending: PendingLoad, task: asyncio.Task[Plan | HypuraError]) -> None:
        pending.finish_planning()
        if model.pending is not pending or task.cancelled():
            return  # It was dropped meanwhile.
        result = task.result()
        if isinstance(result, HypuraError):
            self._planning_failed(model, pending, result)
        elif result.context_tokens < pending.request.least_context_tokens:
            most_tokens = result.context_tokens
            message = f'"{model.name}" has no more than {most_tokens} tokens'
            self.fail(model, ContextTooLong(message, largest_tokens=most_tokens))
        else:
            pending.use_plan(result)

    def _planning_failed(self, model: SupervisedModel, pending: PendingLoad, error: HypuraError) -> None:
        """A load that does not fit into what is spare now may fit later."""
        if not isinstance(error, BudgetTooSmall | ContextTooLong) or not error.required_bytes:
            self.fail(model, error)
            return
        if model.reduced_memory_limit_bytes and model.error:
            self.fail(model, WorkerFailed(f"{model.error}; with less memory it cannot be tried once more: {error}"))
            return
        if pending.request.memory_limit_bytes:
            self.fail(model, error)
            return
        reachable_bytes = self._budget.reachable_bytes(model.name)
        if pending.offered_bytes < error.required_bytes <= self._budget.most_spare_bytes(model.name):
            self.plan(model, pending.request, error.required_bytes)  # Others can give that much.
        elif pending.offered_bytes < error.required_bytes <= reachable_bytes:
            self.wait_for_memory(model, pending, error.required_bytes)
        elif pending.offered_bytes < reachable_bytes:
            self.plan(model, pending.request, reachable_bytes)  # For an answer that holds at any time.
        elif isinstance(error, BudgetTooSmall) and error.required_bytes <= self._budget.current_budget_bytes:
            self.fail(model, self._budget.no_room_error(model.name, error.required_bytes))
        else:
            self.fail(model, error)

    def wait_for_memory(self, model: SupervisedModel, pending: PendingLoad, awaited_bytes: int) -> None:
        """The load waits until so much memory can be had."""
        if not pending.awaited_bytes:
            model.notify(LoadEvent(stage=f"waiting for {awaited_bytes / 1e9:.2f} GB of memory that others hold"))
        pending.wait_for_memory(awaited_bytes)

    def fail(self, model: SupervisedModel, error: HypuraError) -> None:
        """Fail the requests that wanted this load. What is loaded stays, and requests that need less wait on.

        Requests that accept a smaller context wait for the largest that there can be.
        """
        pending = model.pending
        assert pending is not None
        model.fail_pending_load()
        options, least = options_of(pending.request), pending.request.least_context_tokens
        concerned = model.unserved_with(options)
        most = max((waiter.use.load_tokens for waiter in concerned), default=0)
        largest_tokens = error.largest_tokens if isinstance(error, ContextTooLong) else 0
        if largest_tokens and options == model.request:
            model.note_largest_context(largest_tokens, self._budget.reachable_bytes(model.name))
        if most < least:
            model.forget_context_wish()  # An earlier request needed that much; what these need is tried next.
            return
        for waiter in concerned:
            if not isinstance(error, BudgetTooSmall | ContextTooLong):
                waiter.fail(error)
            elif waiter.use.load_tokens == most:
                _lower(model, waiter, error, largest_tokens)


def _lower(model: SupervisedModel, waiter: Waiter, error: HypuraError, largest_tokens: int) -> None:
    """Let the request wait for the largest context that can be had, or fail it if it accepts no less."""
    less = waiter.use.lowered(largest_tokens)
    if less is None:
        waiter.fail(error)
        return
    if less.context_tokens < waiter.use.context_tokens:
        _log.warning(
            "a request gets less context than it needs",
            model=model.name,
            needed_tokens=waiter.use.context_tokens,
            context_tokens=less.context_tokens,
        )
    waiter.accept(less)
