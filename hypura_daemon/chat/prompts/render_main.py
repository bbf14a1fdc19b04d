"""The process that renders chat templates, with little memory: requests on standard input, answers on standard output.

─ length, {"template", …} or {"go", …} as JSON ─► render ─► length, {"text"}, {"refused"} or {"broken"} ─
It ends when its input does, or after IDLE_SECONDS without a request.
"""

import json
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("<I")
IDLE_SECONDS = 60.0
LAST_SECONDS = 15
MEMORY_BYTES = 1 << 30
"""The limit of address space: a prompt of 32 Mi characters, and what jinja2 makes of it, fits well."""


def main() -> None:
    """Serve requests until the input ends or none come."""
    # Where the system has no such limit (macOS), only the deadlines bound the process.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from hypura_daemon.chat.prompts.jinja import render
    from hypura_daemon.chat.prompts.needs import TemplateBroken
    from hypura_daemon.errors import InvalidRequest

    def answered(go: str = "", turns: Sequence[Any] = (), until_response: bool = False, **request: Any) -> str:
        if not go:
            return render(**request)
        from hypura_daemon.chat.go.interpreter import render_go

        *before, last = turns
        return "".join([render_go(go, turn) for turn in before]) + render_go(go, last, until_response=until_response)

    while select.select([0], [], [], IDLE_SECONDS)[0] and (head := _read(LENGTH.size)):
        # Without a handler, so that the system ends the process, whatever it does, even without a daemon.
        signal.alarm(LAST_SECONDS)
        try:
            answer = {"text": answered(**json.loads(_read(*LENGTH.unpack(head))))}
        except InvalidRequest as error:
            answer = {"broken" if isinstance(error, TemplateBroken) else "refused": str(error)}
        except MemoryError:
            answer = {"refused": "the model's chat template failed on this conversation: it needs too much memory"}
        signal.alarm(0)
        data = json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
        sys.stdout.buffer.write(LENGTH.pack(len(data)) + data)
        sys.stdout.buffer.flush()


def _read(count: int) -> bytes:
    """Read so many bytes; fewer at the end of the input."""
    data = bytearray()
    while len(data) < count and (piece := os.read(0, count - len(data))):
        data += piece
    return bytes(data)


if __name__ == "__main__":
    main()
