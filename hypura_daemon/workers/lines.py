"""A line that a worker said, as the daemon logs it: under its own level, event and fields where it is JSON."""

import json
from dataclasses import dataclass
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
_OWN = ("level", "event", "timestamp", "model", "pid")


@dataclass(frozen=True, slots=True)
class Said:
    """level: one of LEVELS. news: it may not explain a death."""

    level: str
    event: str
    fields: dict[str, Any]

    @property
    def news(self) -> bool:
        return self.level in ("debug", "info") and "line" not in self.fields


def said(line: str) -> Said:
    """What the line says. Pure. Anything but the worker's own JSON is a line of some library's."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if isinstance(entry, dict) and entry.get("level") in LEVELS and isinstance(entry.get("event"), str):
        fields = {key: value for key, value in entry.items() if key not in _OWN}
        return Said(entry["level"], entry["event"], fields)
    return Said("debug", "worker says", {"line": line})
