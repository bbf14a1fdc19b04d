"""Times as people write them: 10m, 1h30m, 90s; and how long something still is."""

import re

_PART = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)"
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds of "10m", "1h30m", "-1" or plain "300". Raises ValueError for anything else."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time; write it as 10m, 90s, 1h30m or a number of seconds")
    parts = re.findall(_PART, match[2], re.IGNORECASE)
    seconds = sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in parts)
    return -seconds if match[1] == "-" else seconds


def duration_text(seconds: float) -> str:
    """A time for people, in its two largest units: "4m 59s"."""
    rest = max(0, round(seconds))
    words: list[str] = []
    for unit, unit_seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, unit_seconds)
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
    return " ".join(words[:2])
