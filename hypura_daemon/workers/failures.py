"""Turns a worker's status into the daemon's errors; the worker names its error in trailing metadata."""

from collections.abc import Iterable
from typing import cast

import grpc

from hypura_daemon.errors import (
    HypuraError,
    InvalidRequest,
    ModelFileChanged,
    PromptTooLong,
    ServerBusy,
    UnsupportedModel,
    WorkerFailed,
)

METADATA_KEY = "hypura-error"
_KINDS: dict[str, type[HypuraError]] = {
    "InvalidRequest": InvalidRequest,
    "RequestError": InvalidRequest,
    "ConstraintFailed": InvalidRequest,
    "PromptTooLong": PromptTooLong,
    "ServerBusy": ServerBusy,
    "ModelFileChanged": ModelFileChanged,
    "LoadFailed": UnsupportedModel,
    "IncompatibleLibrary": UnsupportedModel,
    "DecodeFailed": WorkerFailed,
    "ReadFailed": WorkerFailed,
    "EngineBroken": WorkerFailed,
    "WorkerFailed": WorkerFailed,
}


def named_error(error: grpc.aio.AioRpcError) -> HypuraError | None:
    """The error that the worker named, or None when it named none that is known."""
    metadata = cast(Iterable[tuple[str, str | bytes]], error.trailing_metadata() or ())
    for key, value in metadata:
        if key == METADATA_KEY and (kind := _KINDS.get(str(value))) is not None:
            return kind(error.details() or kind.__name__)
    return None
