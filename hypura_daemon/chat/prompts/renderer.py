"""Renders chat templates in processes of their own, since a template is code that came with a model.

The sandbox bounds what a template can reach and, in Python, how long it runs. But a single call of C, such as the text
of a list that contains itself twice, forty levels deep, allows no deadline, holds Python's lock and takes all memory.
So templates run where they can be killed, and where memory is limited.
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

from hypura_daemon.chat.prompts.needs import TemplateBroken
from hypura_daemon.chat.prompts.render_main import LENGTH
from hypura_daemon.errors import InvalidRequest

ANSWER_SECONDS = 10.0
"""Enough for the sandbox's own deadline and a start of the process."""
COMMAND = (sys.executable, "-P", "-m", "hypura_daemon.chat.prompts.render_main")

_log = structlog.get_logger()


class Renderer:
    """A pool of rendering processes, each used by one caller at a time. Call it in threads of the kind TEMPLATES."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def render(
        self, template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], **more: Any
    ) -> str:
        """See jinja.render. Raises InvalidRequest; TemplateBroken if the template itself fails."""
        return self._rendered({"template": template, "messages": list(messages), "tools": list(tools), **more})

    def render_go(self, template: str, turns: Sequence[Mapping[str, Any]], *, until_response: bool = False) -> str:
        """See go.interpreter.render_go, for one turn after the other; until_response applies to the last one.

        Raises InvalidRequest.
        """
        return self._rendered({"go": template, "turns": list(turns), "until_response": until_response})

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            ending, self._idle = self._idle, []
        for process in ending:
            process.end()

    def _rendered(self, request: Mapping[str, Any]) -> str:
        data = json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass")
        with self._lock:
            process = self._idle.pop() if self._idle else None
        answer = process.ask(data) if process is not None else None
        if answer is None:
            # There was no process, or it ended because it was idle, perhaps while this was written.
            process = _Process()
            answer = process.ask(data)
        if answer is None or process is None:
            raise InvalidRequest("the model's chat template failed on this conversation: its process ended")
        with self._lock:
            self._idle.append(process)
        if "refused" in answer:
            raise InvalidRequest(answer["refused"])
        if "broken" in answer:
            raise TemplateBroken(answer["broken"])
        # Lone surrogates, which a tool's arguments or the template itself may contain, are not text.
        return str(answer["text"]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Process:
    """A rendering process; it ends by itself when it is idle for long."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        # Reaps the process when it ends because it is idle: the next request may come days later.
        threading.Thread(target=self.process.wait, name="renderer-end", daemon=True).start()

    def ask(self, data: bytes) -> dict[str, Any] | None:
        """The answer; None if the process has ended. Raises InvalidRequest if it had to be killed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        deadline, output = time.monotonic() + ANSWER_SECONDS, self.process.stdout.fileno()
        try:
            # The process reads everything before it answers, so this write ends.
            self.process.stdin.write(LENGTH.pack(len(data)))
            rest = memoryview(data)
            while rest:
                rest = rest[self.process.stdin.write(rest) :]
            head = _read(output, LENGTH.size, deadline)
            body = _read(output, LENGTH.unpack(head)[0], deadline) if head else b""
        except BrokenPipeError:
            body = b""
        except TimeoutError:
            self.end()
            _log.warning("a chat template took too long and was killed", seconds=ANSWER_SECONDS)
            raise InvalidRequest(
                f"the model's chat template failed on this conversation: no result after {ANSWER_SECONDS:g} seconds"
            ) from None
        if not body:
            self.end()
            return None
        answer: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
        return answer

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def _read(descriptor: int, count: int, deadline: float) -> bytes:
    data = bytearray()
    ready = select.poll()  # select(2) cannot wait for descriptors beyond 1023, and there may be more connections.
    ready.register(descriptor, select.POLLIN)
    while len(data) < count:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(descriptor, count - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)


renderer = Renderer()
"""This daemon's renderer."""
