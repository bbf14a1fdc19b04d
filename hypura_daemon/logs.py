"""The log: readable lines on a terminal, one JSON object per line otherwise, on standard error.

Prompts, answers and tool calls are never logged.
"""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Log at `level` (debug, info, warning or error) and above."""
    renderer: structlog.typing.Processor
    exceptions: list[structlog.typing.Processor] = []
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = structlog.processors.JSONRenderer()
        exceptions = [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
