"""The worker's log: JSON lines on standard error, which the daemon reads; never prompts or answers."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict


def configure(level: str, model: str) -> None:
    """Log from `level` (debug, info, warning, error) on, every line with the model's name."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(model=model)


def _with_request_id(logger: object, method: str, event: EventDict) -> EventDict:
    """The engine's thread serves many requests and says `request`; all others are told by their task's context."""
    if "request" in event:
        event["request_id"] = event.pop("request")
    return event
