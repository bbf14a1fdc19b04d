"""Admits the requests that wait for a model, and refuses those that have waited too long."""

from hypura_daemon.errors import HypuraError, ServerBusy
from hypura_daemon.residency.budget import MemoryBudget
from hypura_daemon.residency.lease import Waiter
from hypura_daemon.residency.state import ModelState, SupervisedModel
from hypura_daemon.scheduling.rules import Rules, WaitingRequest, admitted

MAX_WAITERS = 512
MAX_LEASES = 256
"""As many as a worker queues. More requests wait here, where they are served in the order in which they came."""
QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"


def enqueue(model: SupervisedModel, waiter: Waiter, now_seconds: float) -> None:
    """Let a request wait, unless too many wait, or the model's worker keeps dying."""
    if waiter.insist:
        model.forget_crashes()
    elif model.state is ModelState.FAILED and now_seconds < model.crashes.paused_until_seconds:
        waiter.fail(model.crash_pause_error(now_seconds))
        return
    if len(model.waiters) >= MAX_WAITERS:
        waiter.fail(ServerBusy(QUEUE_FULL))
        return
    model.add_waiter(waiter)


def admit(model: SupervisedModel, rules: Rules, now_seconds: float, *, closed: bool) -> None:
    """Grant leases, in order, to the requests that fit what is loaded. closed: the model has to make room."""
    waiting = model.waiters
    for waiter in waiting:
        if model.is_being_prepared:
            waiter.note_progress()
        else:
            waiter.note_blocked(now_seconds)
    if model.state is not ModelState.READY or closed:
        return
    requests = [_waiting_request(model, waiter, rules, now_seconds) for waiter in waiting]
    for index in admitted(requests, MAX_LEASES - model.leases):
        model.grant(waiting[index])


def _waiting_request(model: SupervisedModel, waiter: Waiter, rules: Rules, now_seconds: float) -> WaitingRequest:
    if model.fits(waiter):
        return WaitingRequest(True)
    pending = model.pending
    if pending is None or pending.awaited_bytes or pending.request != model.wanted_load():
        return WaitingRequest(False)  # No load for it is about to begin, so it holds up no other request.
    overtakable_seconds = rules.turn_wait_seconds if waiter.request in (None, model.request) else 0.0
    return WaitingRequest(False, _blocked_seconds(waiter, now_seconds), overtakable_seconds)


def _blocked_seconds(waiter: Waiter, now_seconds: float) -> float:
    since = waiter.blocked_since_seconds
    return now_seconds - since if since is not None else 0.0


def deadline(
    model: SupervisedModel, waiter: Waiter, rules: Rules, reload_wait_seconds: float, *, closed: bool
) -> float | None:
    """When the request is refused; None while its load goes on, and while it only waits for a lease."""
    since = waiter.blocked_since_seconds
    if since is None or (model.fits(waiter) and not closed):
        return None
    reloads = model.state is ModelState.READY and model.pending is not None and not model.pending.awaited_bytes
    return since + (reload_wait_seconds if reloads and not model.fits(waiter) else rules.load_wait_seconds)


def refusal(model: SupervisedModel, waiter: Waiter, budget: MemoryBudget, waited_seconds: float) -> HypuraError:
    """The error of a request whose deadline has come."""
    if model.state is ModelState.READY and model.leases and not model.fits(waiter):
        return ServerBusy(
            f'"{model.name}" is loaded with other options and still answers {model.leases} requests after '
            f"{waited_seconds:g} seconds; try again later, or unload it"
        )
    return budget.waited_too_long_error(model, waited_seconds)
