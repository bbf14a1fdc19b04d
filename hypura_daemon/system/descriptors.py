"""File descriptors: how many this process may have, and how they are divided between its connections.

limit │ the daemon's own │ reserve: workers, models' files, templates, downloads │ gateway, refusals │ control socket │
"""

import errno
import resource
from dataclasses import dataclass

import structlog

from hypura_daemon.errors import ServerBusy
from hypura_daemon.platforms.platform import Platform, current

ENOUGH = 65536
"""More would be of no use: each connection costs memory too."""
_OWN = 24
"""Of an idle daemon: its log, lock, sockets, event loops."""
_LEAST_RESERVE, _RESERVE_SHARE, _MOST_RESERVE = 20, 1 / 3, 256
_LEAST_REFUSALS, _REFUSALS_SHARE, _MOST_REFUSALS = 2, 1 / 8, 64
_GATEWAY_SHARE = 2 / 3
_LEAST_GATEWAY, _LEAST_CONTROL = 4, 4
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Places:
    """Connections at once. refusals: those of the gateway that get only an error, because all places are taken."""

    gateway: int
    refusals: int
    control: int


def divided(limit: int, most: int) -> Places:
    """The places that a limit of so many descriptors leaves, `most` for each kind. Pure."""
    reserve = min(_MOST_RESERVE, max(_LEAST_RESERVE, int(limit * _RESERVE_SHARE)))
    spare = max(0, limit - _OWN - reserve)
    refusals = min(_MOST_REFUSALS, max(_LEAST_REFUSALS, int(spare * _REFUSALS_SHARE)))
    gateway = int((spare - refusals) * _GATEWAY_SHARE)
    control = spare - refusals - gateway
    return Places(
        gateway=min(most, max(_LEAST_GATEWAY, gateway)),
        refusals=refusals,
        control=min(most, max(_LEAST_CONTROL, control)),
    )


def raise_limit(platform: Platform | None = None) -> int:
    """Let this process, and its workers, have as many descriptors as the system allows; returns how many.

    The usual soft limits, 1,024 or 256, are for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = (platform or current()).most_descriptors()
    wanted = min(ENOUGH, most, hard if hard != resource.RLIM_INFINITY else most)
    if soft != resource.RLIM_INFINITY and soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        _log.warning("the limit of descriptors cannot be raised", limit=soft, wanted=wanted, error=str(error))
        return soft if soft != resource.RLIM_INFINITY else wanted
    return wanted


def out_of_descriptors(error: BaseException) -> ServerBusy | None:
    """The error for a client where no descriptor was left; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ServerBusy(
        f"hypurad has no descriptors left for this request (its limit is {soft}); try again once other clients have "
        "closed their connections, or raise the limit of open files (ulimit -n)"
    )
