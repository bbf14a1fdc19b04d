"""How a worker fails: the death of its process explained, and the errors that it names in trailing metadata."""

import signal
from dataclasses import dataclass

import grpc

from hypura.error_kinds import name_in
from hypura_daemon.errors import CLASSES, HypuraError, WorkerDied

MAX_QUOTED_CHARACTERS = 250


@dataclass(frozen=True, slots=True)
class Death:
    """exit_status: negative for a signal's number. cause: why the daemon ended it, empty if it did not."""

    model: str
    pid: int
    exit_status: int
    cause: str
    last_lines: tuple[str, ...]
    out_of_memory: bool = False  # The system killed something for lack of memory meanwhile.
    hangs: bool = False  # It was killed and has not ended yet.

    def error(self) -> WorkerDied:
        """The error of the requests that it ended."""
        return WorkerDied(self.explained(), out_of_memory=self.out_of_memory)

    def explained(self) -> str:
        """Which worker ended how, its last lines, and what happens next."""
        if self.hangs:
            how = "was killed and hangs in the system, perhaps in a read from a drive"
        elif self.exit_status < 0:
            try:
                how = f"was killed by {signal.Signals(-self.exit_status).name}"
            except ValueError:
                how = f"was killed by signal {-self.exit_status}"
            if self.out_of_memory:
                how += " (by the system, whose memory ran out)"
            elif self.exit_status == -signal.SIGKILL and not self.cause:
                how += " (by hand, or by the system when memory ran out)"
        else:
            how = f"exited with code {self.exit_status}"
        if self.cause:
            how += f", because {self.cause}"
        lines = " | ".join(line[:MAX_QUOTED_CHARACTERS] for line in self.last_lines[-5:])
        output = f'; its last output: "{lines}"' if lines else "; it wrote nothing"
        return f'worker {self.pid} of "{self.model}" {how}{output}; the next request loads the model again'


def named_error(error: grpc.aio.AioRpcError) -> HypuraError | None:
    """The error that the worker named; None for an internal error of the worker, or a kind that is not known here."""
    named = CLASSES.get(name_in(error.trailing_metadata()), HypuraError)
    if named is HypuraError:
        return None
    return named(error.details() or named.__name__)
