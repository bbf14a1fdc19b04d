"""The process that renders chat templates: requests on standard input, answers on standard output, little memory.

─ length, {"template", …} or {"go", …} as JSON ─► render ─► length, {"text"}, {"refused"} or {"broken"} ─
Ends when its input does, or when nobody has asked for IDLE_SECONDS.
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
"""Of address space: a prompt of 32 Mi characters, and what jinja2 makes of it, fits well."""


def main() -> None:
    """Serve until nobody asks."""
    # Where the system knows no such limit (macOS), the deadlines alone bound it.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from hypura_daemon.chat.prompts.adapting import TemplateBroken
    from hypura_daemon.chat.prompts.jinja import render
    from hypura_daemon.errors import InvalidRequest

    def answered(go: str = "", turns: Sequence[Any] = (), until_response: bool = False, **asked: Any) -> str:
        if not go:
            return render(**asked)
        from hypura_daemon.chat.go.rendering import render_go

        *before, last = turns
        return "".join([render_go(go, turn) for turn in before]) + render_go(go, last, until_response=until_response)

    while select.select([0], [], [], IDLE_SECONDS)[0] and (head := _read(LENGTH.size)):
        signal.alarm(LAST_SECONDS)  # No handler: the system ends it, whatever it does, and without a daemon too.
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
    """So many bytes; fewer at the end of the input."""
    data = bytearray()
    while len(data) < count and (piece := os.read(0, count - len(data))):
        data += piece
    return bytes(data)


if __name__ == "__main__":
    main()
