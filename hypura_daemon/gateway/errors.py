"""What an error is to HTTP: its status and its words. Each dialect has a shape of its own for them."""

from hypura_daemon.errors import (
    BudgetTooSmall,
    DownloadFailed,
    HypuraError,
    InvalidModelName,
    InvalidRequest,
    ModelFileError,
    ModelNotFound,
    ServerBusy,
    ShuttingDown,
    WorkerDied,
    WorkerFailed,
)
from hypura_daemon.system.descriptors import refused_for_want

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidRequest, 400),
    (ModelNotFound, 404),
    (ModelFileError, 400),
    (BudgetTooSmall, 400),
    (ServerBusy, 503),
    (ShuttingDown, 503),
    (WorkerDied, 503),
    (DownloadFailed, 502),
    (WorkerFailed, 500),
)


class BodyTooLarge(HypuraError):
    """The request's body is larger than the setting allows."""


class UnsupportedEncoding(HypuraError):
    """The request's body is packed in a way that is not known."""


class BodyTooSlow(HypuraError):
    """The client does not send the rest of its request."""


class ClientGone(Exception):
    """The client hung up; nobody reads what is answered."""


def http_status(error: Exception) -> int:
    """The status an error leaves with; 500 for a defect of hypura's own."""
    if isinstance(error, BodyTooLarge):
        return 413
    if isinstance(error, BodyTooSlow):
        return 408
    if isinstance(error, UnsupportedEncoding):
        return 415
    if refused_for_want(error) is not None:
        return 503
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def message_of(error: Exception) -> str:
    """What the client is told; in Ollama's words where its clients look for them."""
    if isinstance(error, ModelNotFound) and error.name:
        return f"model '{error.name}' not found"
    if isinstance(error, InvalidModelName):
        return "invalid model name"
    if isinstance(error, HypuraError):
        return str(error)
    if (refused := refused_for_want(error)) is not None:
        return str(refused)
    return "hypurad met a defect of its own; its log has the traceback"
