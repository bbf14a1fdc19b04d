"""The error kinds of errors.proto: the name, gRPC code and HTTP status of each."""

from collections.abc import Iterable
from typing import Any, cast

from hypura.v1 import errors_pb2
from hypura.v1.errors_pb2 import ErrorKind

METADATA_KEY = "hypura-error"
"""The trailing metadata in which a failed call names the kind of its error."""
_PREFIX = "ERROR_KIND_"


def name_of(kind: ErrorKind) -> str:
    """The kind as METADATA_KEY carries it, such as ModelNotFound."""
    return "".join(word.capitalize() for word in ErrorKind.Name(kind).removeprefix(_PREFIX).split("_"))


def name_in(metadata: Iterable[Any] | None) -> str:
    """The name in a failed call's trailing metadata; empty when the other side did not name its error."""
    for key, value in metadata or ():
        if key == METADATA_KEY:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def kind_named(name: str) -> ErrorKind | None:
    """The kind of that name; None when this version does not know it."""
    return _KINDS.get(name)


def grpc_code(kind: ErrorKind) -> str:
    """The name of the gRPC status code that an error of this kind leaves with, such as NOT_FOUND."""
    return _status(kind).grpc_code


def http_status(kind: ErrorKind) -> int:
    """The HTTP status that an error of this kind leaves with."""
    return _status(kind).http_status


def _status(kind: ErrorKind) -> errors_pb2.ErrorStatus:
    options = ErrorKind.DESCRIPTOR.values_by_number[kind].GetOptions()
    status: errors_pb2.ErrorStatus = options.Extensions[cast(Any, errors_pb2.status)]  # The stubs mistype it.
    return status


KINDS = [kind for kind in cast("list[ErrorKind]", ErrorKind.values()) if kind != errors_pb2.ERROR_KIND_UNSPECIFIED]
"""Every kind that can be sent."""
_KINDS = {name_of(kind): kind for kind in KINDS}
