"""An answer as it arrives: shown while it streams, and kept for its figures."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from rich.status import Status
from rich.text import Text

from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.channel import Stream
from hypura_client.cli.output import as_dict, enum_text, mode_text, safe, stderr_console
from hypura_client.errors import HypuraError, UnexpectedReply

Events = Stream[inference.ChatResponse] | Stream[inference.GenerateResponse]


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished or interrupted answer; an interrupted one has no figures."""

    text: str
    thinking: str
    tool_calls: tuple[inference.ToolCall, ...]
    token_ids: tuple[int, ...]
    finished: inference.Finished | None

    @property
    def interrupted(self) -> bool:
        return self.finished is None


@dataclass(frozen=True, slots=True)
class Display:
    """Where the parts of an answer are shown as they arrive."""

    text: Callable[[str], None]
    thinking: Callable[[str], None]


@dataclass(slots=True)
class _Received:
    """The parts that have arrived so far."""

    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    tool_calls: list[inference.ToolCall] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.text or self.tool_calls)

    def chunk(self, chunk: inference.TokenChunk, display: Display) -> None:
        self.token_ids.extend(chunk.token_ids)
        if chunk.thinking:
            self.thinking.append(chunk.thinking)
            display.thinking(chunk.thinking)
        if chunk.text:
            self._end_thinking(display)
            self.text.append(chunk.text)
            display.text(chunk.text)

    def tool_call(self, call: inference.ToolCall, display: Display) -> None:
        self._end_thinking(display)
        display.text(("\n" if self.any else "") + call_text(call))
        self.tool_calls.append(call)

    def _end_thinking(self, display: Display) -> None:
        if self.thinking and not self.any:
            display.thinking("\n\n")

    def answer(self, finished: inference.Finished | None) -> Answer:
        return Answer(
            "".join(self.text), "".join(self.thinking), tuple(self.tool_calls), tuple(self.token_ids), finished
        )


def receive(events: Events, display: Display) -> Answer:
    """Reads a stream to its end and shows it meanwhile; Ctrl-C ends the answer, not the program."""
    received = _Received()
    console = stderr_console()
    interruption = Interruption()
    waiting = Status("waiting for the model …", console=console)
    try:
        if console.is_terminal:
            waiting.start()
        with events, cancelling(events.cancel) as interruption:
            for event in events:
                kind = event.WhichOneof("event")
                if kind == "finished":
                    return received.answer(event.finished)
                if kind == "prefill":
                    done, total = event.prefill.processed_tokens, event.prefill.prompt_tokens
                    waiting.update(f"reading the prompt: {done} of {total} tokens")
                elif kind == "chunk":
                    waiting.stop()
                    received.chunk(event.chunk, display)
                elif isinstance(event, inference.ChatResponse) and kind == "tool_call":
                    waiting.stop()
                    received.tool_call(event.tool_call, display)
    except HypuraError:
        if interruption.pressed:
            return received.answer(None)
        if received.any:
            display.text("\n")
        raise
    finally:
        waiting.stop()
    raise UnexpectedReply("the answer ended without its figures; see `hypuractl status`")


class Interruption:
    """Whether Ctrl-C was pressed."""

    pressed = False


@contextmanager
def cancelling(cancel: Callable[[], None]) -> Iterator[Interruption]:
    """Makes Ctrl-C call `cancel`, which ends the stream where gRPC is ready for it.

    A KeyboardInterrupt inside gRPC's own locking left the channel so that the next call never ended. Changes nothing
    where Ctrl-C is ignored, or outside the main thread.
    """
    interruption = Interruption()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield interruption
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        interruption.pressed = True
        # In a thread of its own: the interrupted code may hold the locks that cancelling needs.
        threading.Thread(target=cancel, daemon=True).start()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)


def write_text(text: str) -> None:
    """Writes a piece of the answer to stdout at once."""
    sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_thinking(text: str) -> None:
    """Writes a piece of the thinking to stderr, dimmed: stdout has the answer only."""
    dimmed = f"\x1b[2m{safe(text)}\x1b[0m" if sys.stderr.isatty() else text
    sys.stderr.write(dimmed)
    sys.stderr.flush()


def call_text(call: inference.ToolCall) -> str:
    """A tool call for people: name({"argument": …})"""
    return f"{call.name}({call.arguments_json})"


def answer_dict(
    answer: Answer, finished: inference.Finished, status: control.ModelStatus, load_seconds: float
) -> dict[str, Any]:
    """What `run --json` prints."""
    plan = as_dict(status.plan, without=("tensors",))
    figures = as_dict(finished.statistics)
    return {
        "model": status.name,
        "mode": plan["mode"],
        "text": answer.text,
        "thinking": answer.thinking,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": json.loads(call.arguments_json)}
            for call in answer.tool_calls
        ],
        "token_ids": list(answer.token_ids),
        **figures,
        "load_seconds": load_seconds + finished.load_seconds,
        "finish_reason": enum_text(inference.FinishReason.DESCRIPTOR, finished.reason),
        "resident_bytes": plan["resident_bytes"],
        "streamed_bytes": plan["streamed_bytes"],
        "memory_limit_bytes": plan["memory_limit_bytes"],
    }


def print_summary(finished: inference.Finished, status: control.ModelStatus) -> None:
    """One dim line on stderr: how it ran."""
    plan, figures = status.plan, finished.statistics
    parts = [
        mode_text(plan.mode),
        f"{size_text(plan.resident_bytes)} resident, {size_text(plan.streamed_bytes)} streamed",
        f"{figures.tok_per_second:.2f} tok/s",
        f"first token after {figures.ttft_seconds:.1f} s",
    ]
    if plan.streamed_bytes:
        parts += [
            f"hit rate {figures.hit_rate:.1%}",
            f"{size_text(figures.bytes_read_per_token)} read per token",
        ]
    if figures.forced_tokens:
        parts.append(f"{figures.forced_tokens} of {figures.output_tokens} tokens forced by the format")
    parts.append(f"peak memory {size_text(figures.worker_peak_rss_bytes)}")
    stderr_console().print(Text(" · ".join(parts), style="dim"), soft_wrap=True)
