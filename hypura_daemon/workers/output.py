"""A worker's output: each line goes to the daemon's log, and the last lines are kept to explain the worker's death."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import structlog

MAX_KEPT_LINES = 20
MAX_LINE_BYTES = 2000
LEVELS = ("debug", "info", "warning", "error", "critical")
_OWN_FIELDS = ("level", "event", "timestamp", "model", "pid")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line as the daemon logs it. level: one of LEVELS."""

    level: str
    event: str
    fields: dict[str, Any]

    @property
    def is_routine(self) -> bool:
        """Whether it cannot explain a death."""
        return self.level in ("debug", "info") and "line" not in self.fields


def parse_line(line: str) -> LogLine:
    """The worker's own JSON lines keep their level, event and fields; any other line comes from a library. Pure."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if isinstance(entry, dict) and entry.get("level") in LEVELS and isinstance(entry.get("event"), str):
        fields = {key: value for key, value in entry.items() if key not in _OWN_FIELDS}
        return LogLine(entry["level"], entry["event"], fields)
    return LogLine("debug", "worker output", {"line": line})


class WorkerOutput:
    """Reads what one worker writes to standard output and standard error."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._last_lines: deque[str] = deque(maxlen=MAX_KEPT_LINES)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The lines that may explain its death."""
        return tuple(self._last_lines)

    async def read(self, stream: asyncio.StreamReader, pid: int) -> None:
        """Log every line until the stream ends; a line is cut at MAX_LINE_BYTES, however long it is."""
        rest = b""
        while piece := await stream.read(8192):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[:MAX_LINE_BYTES]
            for line in lines:
                self._add(line, pid)
        self._add(rest, pid)

    def _add(self, line: bytes, pid: int) -> None:
        text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").strip()
        if text:
            parsed = parse_line(text)
            if not parsed.is_routine:
                self._last_lines.append(text)
            getattr(_log, parsed.level)(parsed.event, **parsed.fields, model=self._model, pid=pid)
