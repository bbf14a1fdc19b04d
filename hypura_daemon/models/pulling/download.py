"""Fetches one file over HTTP: resumes an earlier try, checks the digest as it streams, puts only a whole file in place.

TARGET.partial ── bytes appended, hashed ──► size and sha256 right ──► fsync ──► renamed to TARGET
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from hypura.sizes import size_text
from hypura_daemon.errors import DownloadFailed
from hypura_daemon.system.threads import DOWNLOADS

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
PARTIAL = ".partial"
SPARE_BYTES = 256 << 20
"""Space that is left free on the drive."""
_CHUNK_BYTES = 1 << 20
_REPORT_SECONDS = 0.1
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", re.ASCII)
_TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
MAX_REDIRECTS = 5
CONNECT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: tries without a new byte, and the seconds before the second, doubled for each further try."""

    tries: int = 6
    first_seconds: float = 0.5
    most_seconds: float = 10.0
    stall_seconds: float = 60.0


USUAL_PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that can be fetched. request(headers) opens the response's stream; sha256 is empty if it is not known."""

    label: str
    request: "Callable[[Mapping[str, str]], AbstractAsyncContextManager[httpx.Response]]"
    size_bytes: int
    sha256: str = ""


class _Transient(Exception):
    """A failure that the next try may not have."""


class _Damaged(Exception):
    """The received bytes are not those of the file."""


class Download:
    """The download of one file to `target`."""

    def __init__(self, remote: Remote, target: Path, patience: Patience, report: Callable[[int], None]) -> None:
        self._remote = remote
        self._target = target
        self._partial = target.with_name(target.name + PARTIAL)
        self._patience = patience
        self._report = report
        self._reported_seconds = 0.0
        self._done_bytes = 0
        self._hash = hashlib.sha256()

    async def run(self) -> None:
        """Fetch the file. Raises DownloadFailed. What was received is kept then, and when this is cancelled."""
        try:
            await self._run()
        except OSError as error:
            raise DownloadFailed(_drive_error(self._partial, error)) from error
        finally:
            await in_thread(self._drop_empty)

    async def _run(self) -> None:
        import httpx

        tries = 0
        await in_thread(self._begin)
        resumed = self._done_bytes > 0
        self._report(self._done_bytes)
        while True:
            before_bytes = self._done_bytes
            try:
                if self._done_bytes < self._remote.size_bytes:
                    await self._receive()
                await in_thread(self._finish)
                return
            except _Damaged as damaged:
                await in_thread(self._start_over)
                if not resumed:
                    raise DownloadFailed(str(damaged)) from damaged
                resumed = False  # The damage may be in what an earlier try left.
            except (httpx.RequestError, _Transient) as error:
                tries = 0 if self._done_bytes > before_bytes else tries + 1
                if tries >= self._patience.tries:
                    raise DownloadFailed(
                        f"{self._remote.label} stopped at {self._done_bytes} of {self._remote.size_bytes} bytes: "
                        f"{described(error)}; pull again to continue from there"
                    ) from error
                await asyncio.sleep(min(self._patience.first_seconds * 2**tries, self._patience.most_seconds))

    async def _receive(self) -> None:
        """Append what the server sends."""
        headers = {"Accept-Encoding": "identity"}
        if self._done_bytes:
            headers["Range"] = f"bytes={self._done_bytes}-"
        async with self._remote.request(headers) as response:
            status = response.status_code
            if status in _TRANSIENT_STATUSES:
                raise _Transient(f"the server answered {status}")
            if status == 200 and self._done_bytes:
                await in_thread(self._start_over)  # The server does not support ranges.
            elif status == 416:
                raise _Damaged(f"{self._remote.label}: the server's file is shorter than what was received before")
            elif status == 206:
                match = _RANGE.fullmatch(response.headers.get("content-range", ""))
                if match is None or int(match[1]) != self._done_bytes:
                    raise _Transient("the server sent another range than requested")
            elif status != 200:
                raise DownloadFailed(f"{self._remote.label}: the server answered {status} {response.reason_phrase}")
            with await in_thread(_appended, self._partial) as stream:
                waiting = bytearray()
                try:
                    async for chunk in response.aiter_raw():
                        waiting += chunk
                        if self._done_bytes + len(waiting) > self._remote.size_bytes:
                            raise _Damaged(f"{self._remote.label}: the server sent more bytes than it announced")
                        if len(waiting) >= _CHUNK_BYTES or self._is_due():
                            await in_thread(self._write, stream, waiting)
                            waiting = bytearray()
                            self._report_progress()
                finally:
                    # What was received before the connection broke or the pull was cancelled is kept.
                    await in_thread(self._write, stream, waiting)
            self._report_progress()
        if self._done_bytes < self._remote.size_bytes:
            raise _Transient("the connection was closed early")

    def _is_due(self) -> bool:
        return time.monotonic() - self._reported_seconds >= _REPORT_SECONDS

    def _report_progress(self) -> None:
        if self._is_due() or self._done_bytes == self._remote.size_bytes:
            self._reported_seconds = time.monotonic()
            self._report(self._done_bytes)

    def _begin(self) -> None:
        """Continue with what an earlier try left."""
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._partial.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    self._hash.update(chunk)
                    self._done_bytes += len(chunk)
        except FileNotFoundError:
            return
        if self._done_bytes > self._remote.size_bytes:
            self._start_over()

    def _start_over(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._done_bytes = 0
        self._hash = hashlib.sha256()

    def _write(self, stream: BinaryIO, chunk: bytearray) -> None:
        stream.write(chunk)
        self._hash.update(chunk)
        self._done_bytes += len(chunk)

    def _finish(self) -> None:
        found = self._hash.hexdigest()
        if self._remote.sha256 and found != self._remote.sha256:
            raise _Damaged(
                f"{self._remote.label} has the digest {found[:12]}…, not {self._remote.sha256[:12]}…; "
                "what was received is deleted, pull again"
            )
        if not self._remote.size_bytes:
            self._partial.touch()
        synced_rename(self._partial, self._target)

    def _drop_empty(self) -> None:
        with contextlib.suppress(OSError):
            if self._partial.stat().st_size == 0:
                self._partial.unlink()
        with contextlib.suppress(OSError):
            self._partial.parent.rmdir()  # Fails unless the folder is empty.


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run `work` in a thread. When cancelled, wait until the thread is done with the file before raising."""
    running = asyncio.ensure_future(DOWNLOADS(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def described(error: BaseException) -> str:
    """The error in words; some of httpx's errors have no text."""
    return str(error) or type(error).__name__


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raises DownloadFailed if the drive of `folder` has less free than is needed."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes and needed_bytes + SPARE_BYTES > free_bytes:
        raise DownloadFailed(
            f"{size_text(needed_bytes)} are needed, with {size_text(SPARE_BYTES)} to spare, but "
            f"{size_text(free_bytes)} are free in {existing}; free some space there"
        )


def synced_rename(written: Path, target: Path) -> None:
    """Rename a written file to its place, so that after a crash it is there whole or not at all."""
    with written.open("rb") as stream:
        os.fsync(stream.fileno())
    written.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _appended(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _drive_error(path: Path, error: OSError) -> str:
    remedy = "free some space there" if error.errno == errno.ENOSPC else "check the drive and its permissions"
    return f"{path} cannot be written: {error.strerror or error}; {remedy}"


@asynccontextmanager
async def web_client(patience: Patience) -> "AsyncIterator[httpx.AsyncClient]":
    """An HTTP client. httpx is imported with the first pull, since an idle daemon does not need it."""
    import httpx

    timeout = httpx.Timeout(patience.stall_seconds, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(
        timeout=timeout,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        headers={"User-Agent": "hypura"},
    ) as client:
        yield client


def unreachable(host: str, error: BaseException) -> DownloadFailed:
    """The error for a host that does not answer."""
    return DownloadFailed(
        f"{host} cannot be reached: {described(error)}; check the network, "
        "or register a file that you already have with: hypuractl add PATH"
    )
