"""When a worker that keeps dying is not started again. Pure."""

from dataclasses import dataclass

MANY = 3
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Crashes:
    """Deaths since the last answered request: the times of the recent ones, and the pauses they led to."""

    times_seconds: tuple[float, ...] = ()
    pauses: int = 0
    paused_until_seconds: float = 0.0

    def after(self, now_seconds: float) -> "Crashes":
        """After one more death. Three within a minute lead to a pause, and each one after a pause to a longer one."""
        times = (*(t for t in self.times_seconds if now_seconds < t + WINDOW_SECONDS), now_seconds)[-MANY:]
        if not self.pauses and len(times) < MANY:
            return Crashes(times)
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**self.pauses)
        return Crashes(times, min(self.pauses + 1, 16), now_seconds + pause)
