"""The log: readable lines on a terminal, JSON lines elsewhere; written by a thread of its own, so that a full or
hanging disk, or a pipe without a reader, neither ends nor holds up the daemon.

structlog, logging ─► bounded queue ─► thread ─► file, of bounded size (JSON)
     (full: counted, logged later)           └─► standard error: a terminal, or systemd's journal, or no file

Prompts, answers and tool calls are logged only where log_content asks for it.
"""

import logging
import os
import queue
import sys
import threading
from collections.abc import Mapping
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

import structlog

LOGGER = "hypura"
FILE_BYTES = 16 << 20
OLD_FILES = 4
MAX_WAITING = 4096
"""Lines that may wait for a slow disk; those that come then are counted instead of kept."""
FLUSH_SECONDS = 2.0
_STDERR = 2


class Log:
    """The log of this process, from its making until `close`."""

    def __init__(self, listener: QueueListener) -> None:
        self._listener = listener

    def close(self) -> bool:
        """Write the waiting lines; False when that hangs, so that the process must not wait for it at its end."""
        stopping = threading.Thread(target=self._listener.stop, name="log's end", daemon=True)
        stopping.start()
        stopping.join(FLUSH_SECONDS)
        return not stopping.is_alive()


def configure_logs(level: str, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Log:
    """Log at `level` (debug, info, warning or error) and above. When the file cannot be written, its lines go to
    standard error, with the reason.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # here, while the exception is at hand
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: logging.getLogger(LOGGER),
        cache_logger_on_first_use=True,
    )
    errors = _StandardError()
    errors.setFormatter(_formatter(sys.stderr.isatty()))
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_File(file, errors))
        handlers[0].setFormatter(_formatter(terminal=False))
    if file is None or sys.stderr.isatty() or _is_journal(environ):
        handlers.append(errors)
    waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(MAX_WAITING)
    listener = _Listener(waiting, *handlers)
    logging.getLogger(LOGGER).setLevel(number)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # Libraries log only what is wrong.
    root.handlers = [_Entrance(waiting, listener)]
    listener.start()
    return Log(listener)


class _Listener(QueueListener):
    """The thread's side. lost: lines that found the queue full; their number is logged with the next line."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord | None]", *handlers: logging.Handler) -> None:
        super().__init__(waiting, *handlers)
        self._waiting = waiting
        self.lost = 0

    def enqueue_sentinel(self) -> None:
        self._waiting.put(None)  # The library's would fail where the queue is full.

    def handle(self, record: logging.LogRecord) -> None:
        if self.lost:
            count, self.lost = self.lost, 0
            super().handle(_notice(f"{count} lines of the log are lost: they came faster than they could be written"))
        super().handle(record)


class _Entrance(QueueHandler):
    """The loggers' side: never waits."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord | None]", listener: _Listener) -> None:
        super().__init__(waiting)
        self._listener = listener

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # It stays in this process, and the thread formats it.

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._listener.lost += 1


class _StandardError(logging.Handler):
    """Writes to the descriptor, without Python's buffer, whose lock would be held for as long as a pipe is full."""

    def emit(self, record: logging.LogRecord) -> None:
        line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        try:
            while line:
                line = line[os.write(_STDERR, line) :]
        except OSError:
            pass  # There is no other place to report it.


class _File(RotatingFileHandler):
    """Opened at the first line. Lines that cannot be written go to standard error, and the file is tried again."""

    def __init__(self, path: Path, errors: logging.Handler) -> None:
        self._path = path
        self._errors = errors
        self._failed = False
        self._wrote = False
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True)

    def _open(self):  # type: ignore[no-untyped-def]  # as typeshed has it: a TextIOWrapper
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Called within the handling of the error."""
        self._wrote = False
        if not self._failed:
            self._failed = True
            reason = sys.exc_info()[1]
            self._errors.handle(_notice(f"the log file {self._path} cannot be written, so lines go here: {reason}"))
        self._errors.handle(record)
        # Its buffer is dropped too: half a line would corrupt the next one.
        stream, self.stream = self.stream, None
        if stream is not None:
            try:
                stream.close()
            except OSError:
                pass  # This error is being handled.

    def emit(self, record: logging.LogRecord) -> None:
        self._wrote = True
        super().emit(record)
        if self._wrote and self._failed:
            self._failed = False
            super().emit(_notice("the log file can be written again"))


def _notice(message: str) -> logging.LogRecord:
    return logging.LogRecord(LOGGER, logging.WARNING, "", 0, message, None, None)


def _formatter(terminal: bool) -> logging.Formatter:
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _is_journal(environ: Mapping[str, str]) -> bool:
    """Whether systemd's journal reads standard error (systemd.exec(5), JOURNAL_STREAM)."""
    there = os.fstat(_STDERR)
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
