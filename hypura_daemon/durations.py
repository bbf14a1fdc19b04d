"""Durations as people and Go programs write them: 5m, 1h30m, 300ms, -1s."""

import math
import re

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+)", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of what Go's time.ParseDuration takes; ValueError for anything else, a number without unit too."""
    match = _DURATION.fullmatch(text)
    if match is None:
        if text in ("0", "+0", "-0"):
            return 0.0
        raise ValueError("give a duration such as 5m, 90s or 1h30m")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PARTS.findall(match[2]))
    return -seconds if match[1] == "-" else seconds


def parse_keep_alive(value: object) -> float:
    """Seconds of a number or a duration, negative for ever; ValueError if it is neither."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return parse_duration(text)
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError("give seconds, a duration such as 5m, or -1 for ever")
    return float(value)
