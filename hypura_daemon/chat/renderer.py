"""Chat templates, rendered in a process of their own: a template is code that came with a model.

The sandbox bounds what it can reach and, in Python, how long it runs. But one call of C, such as the text of a list
that holds itself twice, forty levels deep, lets no deadline in, holds Python's lock and takes all memory: so it
happens where it can be killed, and where memory ends early.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from hypura_daemon.chat.render_main import LENGTH
from hypura_daemon.errors import InvalidRequest

ANSWER_SECONDS = 10.0
"""The sandbox's own deadline, a start of the process, and something over."""
COMMAND = (sys.executable, "-P", "-m", "hypura_daemon.chat.render_main")

_log = structlog.get_logger()


class Renderer:
    """One process, started when it is needed; one template at a time. To be called outside the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(
        self, template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], **more: Any
    ) -> str:
        """As templates.render. Raises InvalidRequest."""
        asked = {"template": template, "messages": list(messages), "tools": list(tools), **more}
        data = json.dumps(asked, ensure_ascii=False).encode("utf-8", "surrogatepass")
        with self._lock:
            # One that has ended for idleness, maybe while this was written, is replaced once.
            answer = self._asked(data, self._running()) or self._asked(data, self._started())
        if answer is None:
            raise InvalidRequest("the model's chat template failed on this conversation: its process ended")
        if "refused" in answer:
            raise InvalidRequest(answer["refused"])
        return str(answer["text"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        return self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        self._end()
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        # Collects it when it has ended for idleness: nobody may ask again for days.
        threading.Thread(target=self._process.wait, name="renderer-end", daemon=True).start()
        return self._process

    def _asked(self, data: bytes, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """The answer; None from a process that has ended. Raises InvalidRequest for one that had to be ended."""
        assert process.stdin is not None and process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            # It reads all before it answers, and its reader needs no memory but for this: the write ends.
            process.stdin.write(LENGTH.pack(len(data)))
            rest = memoryview(data)
            while rest:
                rest = rest[process.stdin.write(rest) :]
            head = self._read(process.stdout.fileno(), LENGTH.size, deadline)
            body = self._read(process.stdout.fileno(), LENGTH.unpack(head)[0], deadline) if head else b""
        except BrokenPipeError:
            return None
        except TimeoutError:
            self._end()
            _log.warning("a chat template had to be killed", seconds=ANSWER_SECONDS)
            raise InvalidRequest(
                f"the model's chat template failed on this conversation: no end after {ANSWER_SECONDS:g} seconds"
            ) from None
        answer: dict[str, Any] | None = json.loads(body.decode("utf-8", "surrogatepass")) if body else None
        return answer

    @staticmethod
    def _read(descriptor: int, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            piece = os.read(descriptor, count - len(data))
            if not piece:
                return b""
            data += piece
        return bytes(data)

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None


renderer = Renderer()
"""This daemon's."""
