"""The standard streams, set up so that a closed pipe, a full disk or an ASCII terminal never causes a traceback."""

import errno
import io
import os
import sys
from typing import IO, TextIO

EXIT_OUTPUT_FAILED = 74
"""EX_IOERR of sysexits.h: standard output could not be written."""
EXIT_BROKEN_PIPE = 141
"""What shells report for a program that SIGPIPE ended: 128 + 13."""


class OutputClosed(Exception):
    """The reader of standard output has closed it. Not an OSError: click and rich end the program on those."""


class OutputFailed(OSError):
    """Standard output cannot be written, for another reason than that its reader has closed it."""

    def __str__(self) -> str:
        remedy = "make room there" if self.errno in (errno.ENOSPC, errno.EDQUOT) else "send it elsewhere"
        return f"standard output cannot be written: {self.strerror}; {remedy}"


class _Output(io.FileIO):
    """Standard output. Its failures raise errors of their own, apart from those of other files."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError as error:
            raise OutputFailed(error.errno, error.strerror) from error


class _Messages(io.FileIO):
    """Standard error. A message that cannot be written is dropped, and the command continues."""

    def write(self, data: object) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(memoryview(data))  # type: ignore[arg-type]


def set_up() -> None:
    """Makes all three streams usable: opens closed ones, and lets each encode any text."""
    # In this order: the system assigns the lowest free number, and a socket must not become standard output.
    for number, stream in ((0, sys.stdin), (1, sys.stdout), (2, sys.stderr)):
        if stream is None:
            _open_null(number)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), encoding="utf-8")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if sys.stdout is None or _has_number(sys.stdout, 1):
        sys.stdout = _writer(_Output(1, "w", closefd=False), sys.stdout)
    if sys.stderr is None or _has_number(sys.stderr, 2):
        sys.stderr = _writer(_Messages(2, "w", closefd=False), sys.stderr)


def give_up_output() -> None:
    """Discards what standard output still holds: Python would write it at exit, and report the failure."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def can_encode(text: str, stream: TextIO) -> bool:
    """Whether the stream's encoding has all of these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _open_null(number: int) -> None:
    """Opens the null device as this descriptor, for reading only: writing to a closed stream must fail."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _has_number(stream: IO[str], number: int) -> bool:
    """Whether the stream is the process's own, and not one that a test or an embedding program put in its place."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == number
    except (OSError, ValueError):
        return False


def _writer(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """A stream of text over raw, with the encoding of the one before."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="replace",
        line_buffering=raw.isatty(),
        write_through=isinstance(raw, _Messages),
    )
