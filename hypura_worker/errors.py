"""Every error of a worker.

WorkerError
├── IncompatibleLibrary   llama-cpp-python is not one the hook was checked with
├── LoadFailed            llama.cpp or the plan could not be satisfied
│   └── ModelFileChanged  a file is not the one that was planned
├── RequestError          the request is at fault                        INVALID_ARGUMENT
│   ├── PromptTooLong     it does not fit the context
│   └── ConstraintFailed  the format it asks for became too complex while it was answered
├── ServerBusy            too many requests wait                         RESOURCE_EXHAUSTED
├── DecodeFailed          this answer cannot go on                       INTERNAL
│   └── ReadFailed        a weight could not be read from the drive      INTERNAL
└── EngineBroken          no answer can; the worker must be restarted    INTERNAL

The daemon learns the class by its name (trailing metadata hypura-error).
"""


class WorkerError(Exception):
    """Base of all errors above."""


class IncompatibleLibrary(WorkerError):
    """llama-cpp-python is not one the hook was checked with."""


class LoadFailed(WorkerError):
    """The model could not be loaded as planned."""


class ModelFileChanged(LoadFailed):
    """A file changed or disappeared since it was planned."""


class RequestError(WorkerError):
    """The request is at fault."""


class PromptTooLong(RequestError):
    """The prompt does not fit the context."""


class ConstraintFailed(RequestError):
    """The format of the answer became too complex to be followed; others go on."""


class ServerBusy(WorkerError):
    """Too many requests wait."""


class DecodeFailed(WorkerError):
    """This answer cannot go on; others can."""


class ReadFailed(DecodeFailed):
    """A weight could not be read from the drive."""


class EngineBroken(WorkerError):
    """Nothing can be answered any more; the worker must be restarted."""
