"""Every error the daemon tells a client about.

HypuraError
├── InvalidRequest            a value from outside is wrong              INVALID_ARGUMENT
│   ├── InvalidModelName      not a usable name
│   ├── ContextTooLong        more context than the model or memory has
│   └── PromptTooLong         the prompt does not fit the context
├── ModelNotFound             no such registered model                   NOT_FOUND
├── ModelFileError            the file is no usable GGUF                 FAILED_PRECONDITION
│   ├── ModelFileChanged      it changed or went since it was planned
│   └── UnsupportedModel      sound, but llama.cpp or hypura cannot run it
│       └── NoLanguageModel   part of a model: an adapter, a vision encoder
├── BudgetTooSmall            less memory than the least that can run    RESOURCE_EXHAUSTED
├── ServerBusy                a queue is full                            RESOURCE_EXHAUSTED
├── DownloadFailed            a model could not be fetched               UNAVAILABLE
├── WorkerDied                the worker process ended                   UNAVAILABLE
├── WorkerFailed              the worker answered with an error          INTERNAL
├── ShuttingDown              the daemon is ending                       UNAVAILABLE
└── SettingsError             a setting, socket or port is unusable      (start-up only)

Every message says what was wrong, which value, and what to do.
"""


class HypuraError(Exception):
    """Base of all errors above."""


class InvalidRequest(HypuraError):
    """A value that came from outside is wrong."""


class InvalidModelName(InvalidRequest):
    """Not a usable model name."""


class ContextTooLong(InvalidRequest):
    """More context than the model or the memory has.

    required_bytes is the memory that would do; 0 when none would. largest_tokens is the most that can be had; 0
    where it is not known.
    """

    def __init__(self, message: str, required_bytes: int = 0, largest_tokens: int = 0) -> None:
        super().__init__(message)
        self.required_bytes = required_bytes
        self.largest_tokens = largest_tokens


class PromptTooLong(InvalidRequest):
    """The prompt does not fit the context.

    prompt_tokens is its length, context_tokens the most that it may have; 0 where they are not known.
    """

    def __init__(self, message: str, prompt_tokens: int = 0, context_tokens: int = 0) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ModelNotFound(HypuraError):
    """No model of this name is registered; name is as it was asked for."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class ModelFileError(HypuraError):
    """The file is no usable GGUF."""


class ModelFileChanged(ModelFileError):
    """The file changed or disappeared since it was planned."""


class UnsupportedModel(ModelFileError):
    """The file is sound, but neither llama.cpp nor hypura can run it."""


class NoLanguageModel(UnsupportedModel):
    """The file is a part of a model, such as an adapter or a vision encoder."""


class BudgetTooSmall(HypuraError):
    """The memory budget is below the least that can run.

    required_bytes is that least, for the context that was asked for.
    """

    def __init__(self, message: str, required_bytes: int = 0) -> None:
        super().__init__(message)
        self.required_bytes = required_bytes


class ServerBusy(HypuraError):
    """A queue is full."""


class DownloadFailed(HypuraError):
    """A model could not be fetched: no network, no room, or what came is damaged."""


class WorkerDied(HypuraError):
    """The worker process ended; the message says by what and what happens next."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class WorkerFailed(HypuraError):
    """The worker answered with an error."""


class ShuttingDown(HypuraError):
    """The daemon is ending and takes no new work."""


class SettingsError(HypuraError):
    """A setting, socket or port cannot be used."""
