"""An answer as it arrives: shown while it streams, and kept for its figures."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.status import Status
from rich.text import Text

from hypura.v1 import control_pb2 as control
from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.interrupt import Interruption, cancelling
from hypura_client.cli.output import as_dict, enum_text, safe, stderr_console
from hypura_client.cli.planning import mode_text
from hypura_client.cli.sizes import size_text
from hypura_client.errors import HypuraError, UnexpectedReply
from hypura_client.sync import Stream

Events = Stream[inference.ChatResponse] | Stream[inference.GenerateResponse]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. interrupted answers have no figures."""

    text: str
    token_ids: tuple[int, ...]
    finished: inference.Finished | None

    @property
    def interrupted(self) -> bool:
        return self.finished is None


def receive(events: Events, show: Callable[[str], None]) -> Answer:
    """Reads a stream to its end and shows the text as it comes; Ctrl-C ends the answer, not the program."""
    pieces: list[str] = []
    token_ids: list[int] = []
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
                    return Answer("".join(pieces), tuple(token_ids), event.finished)
                if kind == "prefill":
                    done, total = event.prefill.processed_tokens, event.prefill.prompt_tokens
                    waiting.update(f"reading the prompt: {done} of {total} tokens")
                elif kind == "chunk":
                    waiting.stop()
                    pieces.append(event.chunk.text)
                    token_ids.extend(event.chunk.token_ids)
                    show(event.chunk.text)
    except HypuraError:
        if interruption.came:
            return Answer("".join(pieces), tuple(token_ids), None)
        if pieces:
            show("\n")
        raise
    finally:
        waiting.stop()
    raise UnexpectedReply("the answer ended without its figures; see `hypuractl status`")


def write_text(text: str) -> None:
    """A piece of the answer, at once on stdout."""
    sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


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
    parts.append(f"peak memory {size_text(figures.worker_peak_rss_bytes)}")
    stderr_console().print(Text(" · ".join(parts), style="dim"), soft_wrap=True)
