"""Lets the requests that wait for a model in, or sends away those that waited too long."""

from hypura_daemon.errors import HypuraError, ServerBusy
from hypura_daemon.residency.budget import Holdings
from hypura_daemon.residency.lease import Lease, Waiter
from hypura_daemon.residency.state import Entry, ModelState
from hypura_daemon.scheduling.rules import Asking, Crashes, Rules, admitted

MAX_WAITERS = 512
MAX_LEASES = 256
"""As many as a worker queues; those beyond wait here, where whoever came first is served first."""
QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"


def enqueue(entry: Entry, waiter: Waiter, now_seconds: float) -> None:
    """Take a request in, unless too many wait, or the model's worker keeps dying."""
    if waiter.insist:
        entry.crashes, entry.reduced_memory_limit_bytes = Crashes(), 0
    elif entry.state is ModelState.FAILED and now_seconds < entry.crashes.paused_until_seconds:
        waiter.fail(paused(entry, now_seconds))
        return
    if len(entry.waiters) >= MAX_WAITERS:
        waiter.fail(ServerBusy(QUEUE_FULL))
        return
    entry.waiters.append(waiter)


def paused(entry: Entry, now_seconds: float) -> ServerBusy:
    """The refusal of a model that keeps crashing."""
    return ServerBusy(
        f'"{entry.name}" is not loaded again for {entry.crashes.paused_until_seconds - now_seconds:.0f} seconds, '
        f"since its worker keeps dying before it answers: {entry.error}; "
        f"`hypuractl load {entry.name}` tries at once"
    )


def admit(entry: Entry, rules: Rules, now_seconds: float, *, closed: bool) -> None:
    """Grant leases to those that are served by what is loaded, in order. closed: the model has to make room."""
    for waiter in entry.waiters:
        if entry.under_way:
            waiter.blocked_since_seconds = None
        elif waiter.blocked_since_seconds is None:
            waiter.blocked_since_seconds = now_seconds
    if entry.state is not ModelState.READY or closed:
        return
    waiting = tuple(entry.waiters)
    for index in admitted([_asking(entry, w, rules, now_seconds) for w in waiting], MAX_LEASES - entry.leases):
        entry.waiters.remove(waiting[index])
        _grant(entry, waiting[index])


def _asking(entry: Entry, waiter: Waiter, rules: Rules, now_seconds: float) -> Asking:
    if entry.fits(waiter):
        return Asking(True)
    draft = entry.draft
    if draft is None or draft.wanted_bytes or draft.request != entry.wanted():
        return Asking(False)  # No load for it is in sight, so nobody is held up by it.
    overtakable_seconds = rules.turn_wait_seconds if waiter.request in (None, entry.request) else 0.0
    return Asking(False, _blocked_seconds(waiter, now_seconds), overtakable_seconds)


def _blocked_seconds(waiter: Waiter, now_seconds: float) -> float:
    since = waiter.blocked_since_seconds
    return now_seconds - since if since is not None else 0.0


def _grant(entry: Entry, waiter: Waiter) -> None:
    assert entry.worker is not None and entry.plan is not None and entry.loaded is not None
    entry.pinned = entry.pinned or waiter.pin
    if waiter.use.keep_alive_seconds is not None:
        entry.asked_keep_alive_seconds = waiter.use.keep_alive_seconds
    entry.leases += 1
    lease = Lease(entry.worker, entry.plan, entry.loaded, entry.generation, entry.request.context_tokens)
    waiter.granted.set_result(lease)


def deadline(entry: Entry, waiter: Waiter, rules: Rules, reload_wait_seconds: float, *, closed: bool) -> float | None:
    """When the request is sent away; None while its load goes on, and while it only waits for a place."""
    since = waiter.blocked_since_seconds
    if since is None or (entry.fits(waiter) and not closed):
        return None
    reloads = entry.state is ModelState.READY and entry.draft is not None and not entry.draft.wanted_bytes
    return since + (reload_wait_seconds if reloads and not entry.fits(waiter) else rules.load_wait_seconds)


def dismissal(entry: Entry, waiter: Waiter, holdings: Holdings, waited_seconds: float) -> HypuraError:
    """What is told to one whose deadline has come."""
    if entry.state is ModelState.READY and entry.leases and not entry.fits(waiter):
        return ServerBusy(
            f'"{entry.name}" is loaded with other options and still answers {entry.leases} requests after '
            f"{waited_seconds:g} seconds; try again later, or unload it"
        )
    return holdings.waited_in_vain(entry, waited_seconds)
