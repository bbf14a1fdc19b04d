"""Every error of a worker.

WorkerError
├── IncompatibleLibrary   llama-cpp-python is not one the hook was checked with
├── LoadFailed            the model could not be loaded as planned
│   └── ModelFileChanged  a file is not the one that was planned
├── InvalidRequest        a value of the request is wrong
│   ├── PromptTooLong     it does not fit the context
│   └── ConstraintFailed  the format it asks for became too complex while it was answered
├── ServerBusy            too many requests wait
├── DecodeFailed          this answer cannot go on; others can
│   └── ReadFailed        a weight could not be read from the drive
└── EngineBroken          no answer can go on; the worker must be restarted

The daemon receives an error's kind (see errors.proto) and its message, not its class.
"""

from typing import ClassVar

from hypura.v1 import errors_pb2
from hypura.v1.errors_pb2 import ErrorKind


class WorkerError(Exception):
    """Base of all errors above."""

    kind: ClassVar[ErrorKind] = errors_pb2.ERROR_KIND_INTERNAL


class IncompatibleLibrary(WorkerError):
    """llama-cpp-python is not one the hook was checked with."""

    kind = errors_pb2.ERROR_KIND_UNSUPPORTED_MODEL


class LoadFailed(WorkerError):
    """The model could not be loaded as planned."""

    kind = errors_pb2.ERROR_KIND_UNSUPPORTED_MODEL


class ModelFileChanged(LoadFailed):
    """A file changed or disappeared since it was planned."""

    kind = errors_pb2.ERROR_KIND_MODEL_FILE_CHANGED


class InvalidRequest(WorkerError):
    """A value of the request is wrong."""

    kind = errors_pb2.ERROR_KIND_INVALID_REQUEST


class PromptTooLong(InvalidRequest):
    """The prompt does not fit the context."""

    kind = errors_pb2.ERROR_KIND_PROMPT_TOO_LONG


class ConstraintFailed(InvalidRequest):
    """The format of the answer became too complex to be followed; others go on."""


class ServerBusy(WorkerError):
    """Too many requests wait."""

    kind = errors_pb2.ERROR_KIND_SERVER_BUSY


class DecodeFailed(WorkerError):
    """This answer cannot go on; others can."""

    kind = errors_pb2.ERROR_KIND_WORKER_FAILED


class ReadFailed(DecodeFailed):
    """A weight could not be read from the drive."""


class EngineBroken(WorkerError):
    """Nothing can be answered any more; the worker must be restarted."""

    kind = errors_pb2.ERROR_KIND_WORKER_FAILED
