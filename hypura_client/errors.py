"""Every error of the client, and the one place where a gRPC status becomes one.

HypuraError
├── DaemonError               the daemon refused; the base of the kinds that it names
│   ├── InvalidRequest        a value is wrong
│   │   ├── InvalidModelName
│   │   ├── ContextTooLong
│   │   └── PromptTooLong
│   ├── ModelNotFound         no such registered model
│   ├── ModelFileError        the file is not a usable GGUF
│   │   ├── ModelFileChanged
│   │   └── UnsupportedModel
│   │       └── NoLanguageModel
│   ├── BudgetTooSmall        less memory than the least that can run
│   ├── ServerBusy            a queue is full
│   ├── DownloadFailed        a model could not be downloaded
│   ├── WorkerDied            the worker process ended
│   ├── WorkerFailed          the worker answered with an error
│   ├── ShuttingDown          the daemon is ending
│   └── ClientStalled         this client did not read its answer in time
├── CannotConnect             no daemon answers, or the connection broke
│   └── DaemonStartFailed     one was started and did not come up
├── DeadlineExceeded          the daemon did not answer in time
│   └── DaemonSilent          it accepts connections and does not answer
├── Cancelled                 the call was cancelled
├── UnexpectedReply           daemon and client disagree on the protocol
├── LocationError             HYPURA_SOCKET, HYPURA_HOME or config.toml is unusable
└── ServiceFailed             the system's service manager refused

The daemon names the kind of its error (see errors.proto) in the trailing metadata `hypura-error`; without it the
status is gRPC's own, and its code decides.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from hypura.error_kinds import kind_named, name_in
from hypura.v1 import errors_pb2
from hypura.v1.errors_pb2 import ErrorKind


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
    """The model name is not usable."""


class ContextTooLong(InvalidRequest):
    """The request wants more context than the model or the memory has."""


class PromptTooLong(InvalidRequest):
    """The prompt does not fit the context."""


class ModelNotFound(DaemonError):
    """No model of this name is registered."""


class ModelFileError(DaemonError):
    """The file is not a usable GGUF."""


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
    """A model could not be downloaded: no network, no room, or damaged data."""


class WorkerDied(DaemonError):
    """The worker process ended."""


class WorkerFailed(DaemonError):
    """The worker answered with an error."""


class ShuttingDown(DaemonError):
    """The daemon is ending and takes no new work."""


class ClientStalled(DaemonError):
    """This client did not read its answer in time."""


class CannotConnect(HypuraError):
    """No daemon answers, or the connection broke."""


class DaemonStartFailed(CannotConnect):
    """A daemon was started and did not come up."""


class DeadlineExceeded(HypuraError):
    """The daemon did not answer in time."""


class DaemonSilent(DeadlineExceeded):
    """The daemon accepts connections and does not answer: it is stopped or hangs, or the machine is too busy."""


class Cancelled(HypuraError):
    """The call was cancelled."""


class UnexpectedReply(HypuraError):
    """This client does not understand the daemon's answer."""


class LocationError(HypuraError):
    """The daemon's address cannot be found out."""


class ServiceFailed(HypuraError):
    """The system's service manager refused, or is not there."""


CLASSES: dict[ErrorKind, type[DaemonError]] = {
    errors_pb2.ERROR_KIND_INVALID_REQUEST: InvalidRequest,
    errors_pb2.ERROR_KIND_INVALID_MODEL_NAME: InvalidModelName,
    errors_pb2.ERROR_KIND_CONTEXT_TOO_LONG: ContextTooLong,
    errors_pb2.ERROR_KIND_PROMPT_TOO_LONG: PromptTooLong,
    errors_pb2.ERROR_KIND_MODEL_NOT_FOUND: ModelNotFound,
    errors_pb2.ERROR_KIND_MODEL_FILE_ERROR: ModelFileError,
    errors_pb2.ERROR_KIND_MODEL_FILE_CHANGED: ModelFileChanged,
    errors_pb2.ERROR_KIND_UNSUPPORTED_MODEL: UnsupportedModel,
    errors_pb2.ERROR_KIND_NO_LANGUAGE_MODEL: NoLanguageModel,
    errors_pb2.ERROR_KIND_BUDGET_TOO_SMALL: BudgetTooSmall,
    errors_pb2.ERROR_KIND_SERVER_BUSY: ServerBusy,
    errors_pb2.ERROR_KIND_DOWNLOAD_FAILED: DownloadFailed,
    errors_pb2.ERROR_KIND_WORKER_DIED: WorkerDied,
    errors_pb2.ERROR_KIND_WORKER_FAILED: WorkerFailed,
    errors_pb2.ERROR_KIND_SHUTTING_DOWN: ShuttingDown,
    errors_pb2.ERROR_KIND_CLIENT_STALLED: ClientStalled,
    errors_pb2.ERROR_KIND_INTERNAL: WorkerFailed,
}
"""The class of each kind."""

_BY_CODE: dict[str, type[DaemonError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": ModelNotFound,
    "FAILED_PRECONDITION": ModelFileError,
    "INTERNAL": WorkerFailed,
}


_NOT_THERE = ("no such file or directory", "connection refused")
_NOT_OURS = ("http/1", "http2", "trying to connect an http1", "settings frame", "not enough data", "endpoint")
"""Parts of gRPC's messages about an address where something other than gRPC answers."""


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
    if name := name_in(metadata):
        kind = kind_named(name)
        named = _BY_CODE.get(code, DaemonError) if kind is None else CLASSES[kind]
        return named(message or f"the daemon gave no reason ({code})", code)
    return _from_transport(code, (message or "").lower(), _place(target))


def _from_transport(code: str, text: str, place: str) -> HypuraError:
    """The error for a status that gRPC made itself; text is its message, in lower case."""
    match code:
        case "UNAVAILABLE" if "permission denied" in text:
            return CannotConnect(f"this user may not use the socket {place}; it belongs to the daemon of another user")
        case "UNAVAILABLE" if any(words in text for words in _NOT_THERE) or not text:
            return CannotConnect(
                f"no daemon answers at {place}; start one with `hypurad`, or point HYPURA_SOCKET at the one that runs"
            )
        case "UNAVAILABLE" if "failed to connect" in text or any(words in text for words in _NOT_OURS):
            return CannotConnect(
                f"the program that answers at {place} is not a hypura daemon, or ended at once; point "
                "HYPURA_SOCKET at one that runs"
            )
        case "UNAVAILABLE":
            return CannotConnect(
                f"the connection to the daemon at {place} broke: the daemon ended or was killed; try again, "
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
        f"the daemon at {place} ended the call without a reason (status {code}); its log, "
        "logs/daemon.log in its home, may say why",
        code,
    )


def _place(target: str) -> str:
    """The daemon's address as users write it: the path of its socket, not gRPC's name for it."""
    return unquote(target.removeprefix("unix:")) if target.startswith("unix:") else target


def idle(target: str, idle_seconds: float) -> DeadlineExceeded:
    """The error for a stream that sent nothing for too long."""
    return DeadlineExceeded(
        f"the daemon at {_place(target)} sent nothing for {idle_seconds:g} s; the call was cancelled. "
        "`hypuractl status` shows whether the model still works"
    )
