"""Every error a client can meet, and the one place where a gRPC status becomes one.

HypuraError
├── DaemonError               the daemon refused; the base of what it names itself
│   ├── InvalidRequest        a value is wrong
│   │   ├── InvalidModelName
│   │   ├── ContextTooLong
│   │   └── PromptTooLong
│   ├── ModelNotFound         no such registered model
│   ├── ModelFileError        the file is no usable GGUF
│   │   ├── ModelFileChanged
│   │   └── UnsupportedModel
│   │       └── NoLanguageModel
│   ├── BudgetTooSmall        less memory than the least that can run
│   ├── ServerBusy            a queue is full
│   ├── DownloadFailed        a model could not be fetched
│   ├── WorkerDied            the worker process ended
│   ├── WorkerFailed          the worker answered with an error
│   ├── ShuttingDown          the daemon is ending
│   └── SettingsError         one of its settings is unusable
├── CannotConnect             no daemon answers, or the connection broke
│   └── DaemonStartFailed     one was started and did not come up
├── DeadlineExceeded          the daemon answers too slowly, or no more
│   └── DaemonSilent          it takes connections and answers none
├── Cancelled                 the call was cancelled
├── UnexpectedReply           daemon and client disagree on the protocol
├── LocationError             HYPURA_SOCKET, HYPURA_HOME or config.toml is unusable
└── ServiceFailed             the system's service manager refused

The daemon names its class in the trailing metadata `hypura-error`; without it the status is
gRPC's own, and its code decides.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

ERROR_NAME_KEY = "hypura-error"


class HypuraError(Exception):
    """Base of all errors above."""


class DaemonError(HypuraError):
    """The daemon refused. status_code is the gRPC code's name, such as NOT_FOUND."""

    def __init__(self, message: str, status_code: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.status_code = status_code


class InvalidRequest(DaemonError):
    """A value of the request is wrong."""


class InvalidModelName(InvalidRequest):
    """Not a usable model name."""


class ContextTooLong(InvalidRequest):
    """More context than the model or the memory has."""


class PromptTooLong(InvalidRequest):
    """The prompt does not fit the context."""


class ModelNotFound(DaemonError):
    """No model of this name is registered."""


class ModelFileError(DaemonError):
    """The file is no usable GGUF."""


class ModelFileChanged(ModelFileError):
    """The file changed or disappeared since it was planned."""


class UnsupportedModel(ModelFileError):
    """The file is sound, but cannot be run."""


class NoLanguageModel(UnsupportedModel):
    """The file is a part of a model, such as an adapter or a vision encoder."""


class BudgetTooSmall(DaemonError):
    """The memory budget is below the least that can run."""


class ServerBusy(DaemonError):
    """A queue is full."""


class DownloadFailed(DaemonError):
    """A model could not be fetched: no network, no room, or what came is damaged."""


class WorkerDied(DaemonError):
    """The worker process ended."""


class WorkerFailed(DaemonError):
    """The worker answered with an error."""


class ShuttingDown(DaemonError):
    """The daemon is ending and takes no new work."""


class SettingsError(DaemonError):
    """A setting of the daemon is unusable."""


class CannotConnect(HypuraError):
    """No daemon answers, or the connection broke."""


class DaemonStartFailed(CannotConnect):
    """A daemon was started and did not come up."""


class DeadlineExceeded(HypuraError):
    """The daemon did not answer in time."""


class DaemonSilent(DeadlineExceeded):
    """The daemon takes connections and answers none: it was stopped, hangs, or the machine is too busy."""


class Cancelled(HypuraError):
    """The call was cancelled."""


class UnexpectedReply(HypuraError):
    """The daemon's answer is not one that this client knows."""


class LocationError(HypuraError):
    """Where the daemon listens cannot be told."""


class ServiceFailed(HypuraError):
    """The system's service manager refused, or is not there."""


_BY_NAME: dict[str, type[DaemonError]] = {
    error.__name__: error
    for error in (
        InvalidRequest,
        InvalidModelName,
        ContextTooLong,
        PromptTooLong,
        ModelNotFound,
        ModelFileError,
        ModelFileChanged,
        UnsupportedModel,
        NoLanguageModel,
        BudgetTooSmall,
        ServerBusy,
        DownloadFailed,
        WorkerDied,
        WorkerFailed,
        ShuttingDown,
        SettingsError,
    )
}

_BY_CODE: dict[str, type[DaemonError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": ModelNotFound,
    "FAILED_PRECONDITION": ModelFileError,
    "INTERNAL": WorkerFailed,
}


_NOT_THERE = ("no such file or directory", "connection refused")
_NOT_OURS = ("http/1", "http2", "trying to connect an http1", "settings frame", "not enough data", "endpoint")
"""What gRPC says of an address where something else than gRPC answers."""


def from_status(
    code: str,
    message: str | None,
    metadata: Iterable[Any] | None,
    target: str,
) -> HypuraError:
    """The error for a gRPC status.

    code is the StatusCode's name, metadata the trailing pairs of key and value, target the
    daemon's address. The message of a status that the daemon itself gave is for people; one of gRPC's own is not, and
    gives way to a sentence.
    """
    names = [value for key, value in metadata or () if key == ERROR_NAME_KEY]
    if names:
        name = names[0].decode("utf-8", "replace") if isinstance(names[0], bytes) else names[0]
        text = message or f"the daemon gave no reason ({code})"
        return _BY_NAME.get(name, _BY_CODE.get(code, DaemonError))(text, code)
    return _from_transport(code, (message or "").lower(), _place(target))


def _from_transport(code: str, said: str, place: str) -> HypuraError:
    """The error for a status that gRPC made itself; `said` is its message, in small letters."""
    match code:
        case "UNAVAILABLE" if "permission denied" in said:
            return CannotConnect(f"the socket {place} may not be used by this user; it belongs to another's daemon")
        case "UNAVAILABLE" if any(words in said for words in _NOT_THERE) or not said:
            return CannotConnect(
                f"no daemon answers at {place}; start one with `hypurad`, or point HYPURA_SOCKET at the one that runs"
            )
        case "UNAVAILABLE" if "failed to connect" in said or any(words in said for words in _NOT_OURS):
            return CannotConnect(
                f"what answers at {place} is no hypura daemon, or ended at once; point HYPURA_SOCKET at one that runs"
            )
        case "UNAVAILABLE":
            return CannotConnect(
                f"the connection to the daemon at {place} broke: it has ended or was killed; ask again, "
                "and see logs/daemon.log in its home for why"
            )
        case "DEADLINE_EXCEEDED":
            return DeadlineExceeded(
                f"the daemon at {place} did not answer in time; see `hypuractl status` for whether it works"
            )
        case "CANCELLED":
            return Cancelled("the call was cancelled")
        case "UNIMPLEMENTED":
            return UnexpectedReply(
                f"the daemon at {place} does not know this call; restart it (`hypuractl stop`), so that daemon and "
                "client are of one version"
            )
        case "RESOURCE_EXHAUSTED":
            return DaemonError("the request or its answer is larger than a message may be; send less at once", code)
    return _BY_CODE.get(code, DaemonError)(
        f"the daemon at {place} broke off the call (status {code}); its log, logs/daemon.log in its home, may say why",
        code,
    )


def _place(target: str) -> str:
    """The daemon's address as people write it: a socket's path, not gRPC's name for it."""
    return unquote(target.removeprefix("unix:")) if target.startswith("unix:") else target


def idle(target: str, idle_seconds: float) -> DeadlineExceeded:
    """The error for a stream that fell silent."""
    return DeadlineExceeded(
        f"the daemon at {_place(target)} sent nothing for {idle_seconds:g} s; the call was cancelled. "
        "`hypuractl status` tells whether the model still works"
    )
