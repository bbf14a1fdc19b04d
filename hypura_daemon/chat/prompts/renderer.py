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

from hypura_daemon.chat.prompts.adapting import TemplateBroken
from hypura_daemon.chat.prompts.render_main import LENGTH
from hypura_daemon.errors import InvalidRequest

ANSWER_SECONDS = 10.0
"""The sandbox's own deadline, a start of the process, and something over."""
COMMAND = (sys.executable, "-P", "-m", "hypura_daemon.chat.prompts.render_main")

_log = structlog.get_logger()


class Renderer:
    """Processes that render, one for each caller at a time. To be called in threads of the kind TEMPLATES."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Process] = []

    def render(
        self, template: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], **more: Any
    ) -> str:
        """As templates.render. Raises InvalidRequest; TemplateBroken where the template itself fails."""
        return self._rendered({"template": template, "messages": list(messages), "tools": list(tools), **more})

    def render_go(self, template: str, turns: Sequence[Mapping[str, Any]], *, until_response: bool = False) -> str:
        """As go_template.render_go, for one turn after the other; until_response counts for the last one.

        Raises InvalidRequest.
        """
        return self._rendered({"go": template, "turns": list(turns), "until_response": until_response})

    def close(self) -> None:
        """End the processes that nobody uses."""
        with self._lock:
            ending, self._idle = self._idle, []
        for process in ending:
            process.end()

    def _rendered(self, asked: Mapping[str, Any]) -> str:
        data = json.dumps(asked, ensure_ascii=False).encode("utf-8", "surrogatepass")
        with self._lock:
            process = self._idle.pop() if self._idle else None
        answer = process.ask(data) if process is not None else None
        if answer is None:
            # There was none, or it has ended for idleness, maybe while this was written.
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
        # Halves of surrogate pairs, which a tool's arguments or the template itself may have, are no text.
        return str(answer["text"]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Process:
    """One process; it ends by itself when nobody asks for long."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        # Collects it when it has ended for idleness: nobody may ask again for days.
        threading.Thread(target=self.process.wait, name="renderer-end", daemon=True).start()

    def ask(self, data: bytes) -> dict[str, Any] | None:
        """The answer; None when the process has ended. Raises InvalidRequest when it had to be ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        deadline, output = time.monotonic() + ANSWER_SECONDS, self.process.stdout.fileno()
        try:
            # It reads all before it answers, and its reader needs no memory but for this: the write ends.
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
            _log.warning("a chat template had to be killed", seconds=ANSWER_SECONDS)
            raise InvalidRequest(
                f"the model's chat template failed on this conversation: no end after {ANSWER_SECONDS:g} seconds"
            ) from None
        if not body:
            self.end()
            return None
        answer: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
        return answer

    def end(self) -> None:
        """Kill it, and let go of its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def _read(descriptor: int, count: int, deadline: float) -> bytes:
    data = bytearray()
    ready = select.poll()  # select(2) knows no descriptor beyond 1023, and there may be more connections.
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
"""This daemon's."""
