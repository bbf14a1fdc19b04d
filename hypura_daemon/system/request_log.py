"""A request in the log: its id on every line about it, and one summary line at its end.

gateway, rpc ── begin(id, route) ─► Tally, in a context variable ◄── inference: model, tokens
      └──────── end ─► "request": request_id, route, model, tokens, seconds, outcome
"""

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

import structlog

REQUEST_ID = "x-request-id"
"""The header and metadata key with a request's id, in the request and in its answer."""
OK = "ok"
MAX_ROUTE_CHARACTERS = 200
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

_log = structlog.get_logger()


@dataclass(slots=True)
class Tally:
    """What is known of a request so far; outcome: ok, or the name of the error it ended with."""

    id: str
    route: str
    model: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    answers: int = 0
    outcome: str = OK
    begun_seconds: float = field(default_factory=time.monotonic)

    def answer_id(self) -> str:
        """The id of one answer: a request may have several."""
        self.answers += 1
        return self.id if self.answers == 1 else f"{self.id}.{self.answers}"

    def failed(self, error: BaseException) -> None:
        """It ended with this error."""
        self.outcome = type(error).__name__

    def end(self, **more: object) -> None:
        """Log the request: at info if it used a model or failed, otherwise at debug."""
        level = "info" if self.model or self.outcome != OK else "debug"
        figures: dict[str, object] = {"prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens}
        getattr(_log, level)(
            "request",
            route=self.route,
            model=self.model,
            **(figures if self.prompt_tokens or self.output_tokens else {}),
            seconds=round(time.monotonic() - self.begun_seconds, 4),
            outcome=self.outcome,
            **more,
        )


_current: ContextVar[Tally] = ContextVar("tally")


def begin(given_id: str, route: str) -> Tally:
    """Start the tally of this task's request; an id with characters that do not belong in a log line is replaced."""
    tally = Tally(given_id if _SANE.fullmatch(given_id) else new_request_id(), route[:MAX_ROUTE_CHARACTERS])
    _current.set(tally)
    structlog.contextvars.bind_contextvars(request_id=tally.id)
    return tally


def current() -> Tally:
    """This task's tally; one that is never logged where no request began, as in a preload."""
    return _current.get(None) or Tally(new_request_id(), "")


def new_request_id() -> str:
    """Such as req_0123456789abcdef01234567."""
    return f"req_{secrets.token_hex(12)}"
