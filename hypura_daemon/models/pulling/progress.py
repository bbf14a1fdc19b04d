"""The progress of a pull, for any number of followers: stages in words, and one line for each file."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """What the pull does now, in Ollama's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """The progress of one file; `file` is its digest, as sha256:…, or its name."""

    file: str
    total_bytes: int
    completed_bytes: int


PullEvent = Stage | Transfer


class Report:
    """The events of one pull so far; a file's next event replaces its last, so that the list stays short."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, PullEvent]] = []
        self._files: dict[str, int] = {}
        self._version = 0
        self._closed = False
        self._changed = asyncio.Event()

    def stage(self, text: str) -> None:
        """Add a stage."""
        self._add(Stage(text))

    def transfer(self, file: str, total_bytes: int, completed_bytes: int) -> None:
        """Add or update a file's progress."""
        event = Transfer(file, total_bytes, completed_bytes)
        if file in self._files:
            self._version += 1
            self._lines[self._files[file]] = (self._version, event)
            self._wake()
        else:
            self._files[file] = len(self._lines)
            self._add(event)

    def close(self) -> None:
        """End the report: no more events follow."""
        self._closed = True
        self._wake()

    async def follow(self) -> AsyncGenerator[PullEvent, None]:
        """All events, past and future, until the end; of a file's events between two reads only the last."""
        seen = 0
        while True:
            changed, closed = self._changed, self._closed
            news = [(version, event) for version, event in self._lines if version > seen]
            seen = self._version
            for _, event in news:
                yield event
            if closed:
                return
            if seen == self._version and not self._closed:
                await changed.wait()

    def _add(self, event: PullEvent) -> None:
        self._version += 1
        self._lines.append((self._version, event))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
