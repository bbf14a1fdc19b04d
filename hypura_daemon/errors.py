"""Every error that the daemon reports to a client.

HypuraError
├── InvalidRequest            a value from outside is wrong
│   ├── InvalidModelName      not a usable name
│   ├── ContextTooLong        more context than the model or memory has
│   └── PromptTooLong         the prompt does not fit the context
├── ModelNotFound             no such registered model
├── ModelFileError            the file is not a usable GGUF
│   ├── ModelFileChanged      it changed or disappeared since it was planned
│   └── UnsupportedModel      sound, but llama.cpp or hypura cannot run it
│       └── NoLanguageModel   part of a model: an adapter, a vision encoder
├── BudgetTooSmall            less memory than the least that can run
├── ServerBusy                a queue is full
├── DownloadFailed            a model could not be downloaded
├── WorkerDied                the worker process ended
├── WorkerFailed              the worker answered with an error
├── ShuttingDown              the daemon is ending
├── ClientStalled             the client does not read its answer
└── SettingsError             a setting, socket or port is unusable (start-up only)

Every message says what was wrong, which value, and what to do. The gRPC code and the HTTP status of each kind of error
are in errors.proto.
"""

from typing import ClassVar

INTERNAL_MESSAGE = "internal error in hypurad; its log has the traceback"
"""The message to clients about a defect in hypura itself, whose details are only in the log."""


class HypuraError(Exception):
    """Base of all errors above.

    kind: the name of the kind that clients receive (see hypura.error_kinds). A class without a kind of its own is an
    internal error to them. It is only a name, since the process that renders chat templates does not load protobuf.
    """

    kind: ClassVar[str] = "Internal"


class InvalidRequest(HypuraError):
    """A value that came from outside is wrong."""

    kind = "InvalidRequest"


class InvalidModelName(InvalidRequest):
    """The model name is not usable."""

    kind = "InvalidModelName"


class ContextTooLong(InvalidRequest):
    """The request wants more context than the model or the memory has.

    required_bytes is the memory that would be enough; 0 when none would. largest_tokens is the largest possible
    context; 0 where it is not known.
    """

    kind = "ContextTooLong"

    def __init__(self, message: str, required_bytes: int = 0, largest_tokens: int = 0) -> None:
        super().__init__(message)
        self.required_bytes = required_bytes
        self.largest_tokens = largest_tokens


class PromptTooLong(InvalidRequest):
    """The prompt does not fit the context.

    prompt_tokens is its length, context_tokens the most that it may have; 0 where these are not known.
    """

    kind = "PromptTooLong"

    def __init__(self, message: str, prompt_tokens: int = 0, context_tokens: int = 0) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ModelNotFound(HypuraError):
    """No model of this name is registered; name is as the client wrote it."""

    kind = "ModelNotFound"

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class ModelFileError(HypuraError):
    """The file is not a usable GGUF."""

    kind = "ModelFileError"


class ModelFileChanged(ModelFileError):
    """The file changed or disappeared since it was planned."""

    kind = "ModelFileChanged"


class UnsupportedModel(ModelFileError):
    """The file is sound, but neither llama.cpp nor hypura can run it."""

    kind = "UnsupportedModel"


class NoLanguageModel(UnsupportedModel):
    """The file is a part of a model, such as an adapter or a vision encoder."""

    kind = "NoLanguageModel"


class BudgetTooSmall(HypuraError):
    """The memory budget is below the least that can run.

    required_bytes is that least, for the requested context.
    """

    kind = "BudgetTooSmall"

    def __init__(self, message: str, required_bytes: int = 0) -> None:
        super().__init__(message)
        self.required_bytes = required_bytes


class ServerBusy(HypuraError):
    """A queue is full."""

    kind = "ServerBusy"


class DownloadFailed(HypuraError):
    """A model could not be downloaded: no network, no room, or damaged data."""

    kind = "DownloadFailed"


class WorkerDied(HypuraError):
    """The worker process ended; the message says why, and what happens next."""

    kind = "WorkerDied"

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class WorkerFailed(HypuraError):
    """The worker answered with an error."""

    kind = "WorkerFailed"


class ShuttingDown(HypuraError):
    """The daemon is ending and takes no new work."""

    kind = "ShuttingDown"


class ClientStalled(HypuraError):
    """The client does not read the answer that it requested."""

    kind = "ClientStalled"


class SettingsError(HypuraError):
    """A setting, socket or port cannot be used."""


CLASSES: dict[str, type[HypuraError]] = {
    error.kind: error
    for error in tuple(vars().values())
    if isinstance(error, type) and issubclass(error, HypuraError) and "kind" in vars(error)
}
"""The class of each kind, by the kind's name."""
