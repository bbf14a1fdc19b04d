"""Durations as people and Go programs write them (5m, 1h30m, 300ms, -1s), read and written."""

import math
import re

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DAY_SECONDS = 86400.0
_NUMBER = r"(?:\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})"
_GO_PART = rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)"
_PART = rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h|d)"


def parse_go_duration(text: str) -> float:
    """Seconds of what Go's time.ParseDuration takes, as Ollama's requests have it.

    Raises ValueError for anything else, also for a number without a unit.
    """
    if text in ("0", "+0", "-0"):
        return 0.0
    seconds = _sum_of_parts(text, _GO_PART, re.ASCII)
    if seconds is None:
        raise ValueError("give a duration such as 5m, 90s or 1h30m")
    return seconds


def parse_duration(value: object) -> float:
    """Seconds of a number, or of text such as "300", "10m", "1h30m" or "2d". Raises ValueError for anything else."""
    if isinstance(value, str):
        text = value.strip()
        seconds = _sum_of_parts(text, _PART, re.ASCII | re.IGNORECASE)
        try:
            value = float(text) if seconds is None else seconds
        except ValueError:
            value = None
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError("give seconds, a duration such as 5m, 90s or 1h30m, or -1 for ever")
    return float(value)


def duration_text(seconds: float) -> str:
    """A duration for people, in its two largest units: "4m 59s"."""
    rest = max(0, round(seconds))
    words: list[str] = []
    for unit, unit_seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, unit_seconds)
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
    return " ".join(words[:2])


def _sum_of_parts(text: str, part: str, flags: re.RegexFlag) -> float | None:
    """Seconds of parts such as 1h30m with a sign before the first; None for text that is not made of them."""
    match = re.fullmatch(rf"([+-]?)((?:{part})+)", text, flags)
    if match is None:
        return None
    parts = re.findall(part, match[2], flags)
    seconds = sum(float(number) * _UNIT_SECONDS.get(unit.lower(), _DAY_SECONDS) for number, unit in parts)
    return -seconds if match[1] == "-" else seconds
