"""hypuractl pull: a download with a bar for each file."""

from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hypura.v1 import control_pb2 as control
from hypura_client.calls import pulled_model
from hypura_client.cli.options import Json
from hypura_client.cli.output import as_dict, note, print_json, print_line, safe, stderr_console
from hypura_client.cli.session import connected
from hypura_client.cli.sizes import size_text
from hypura_client.sync import Client

_SHOWN_DIGEST_CHARACTERS = 12


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to fetch; see the examples.")],
    insecure: Annotated[bool, typer.Option("--insecure", help="Let the registry be spoken to without TLS.")] = False,
    json_output: Json = False,
) -> None:
    """Download a model. One that was broken off goes on where it was.

    \b
    Examples:
      hypuractl pull qwen3:8b
      hypuractl pull hf.co/unsloth/Qwen3-8B-GGUF
      hypuractl pull hf.co/unsloth/Qwen3-8B-GGUF:Q8_0
      hypuractl pull registry.example.com/team/model:v2
    """
    with connected(quick=True) as client:
        model = pull_with_progress(client, name, insecure=insecure)
    if json_output:
        print_json(as_dict(model))
    else:
        print_line(f"{model.name} is here: {size_text(model.size_bytes)}, {model.quantization or model.error}")


def pull_with_progress(client: Client, name: str, *, insecure: bool) -> control.ModelSummary:
    """Downloads a model with bars on stderr, or a line per stage and file where stderr is no terminal."""
    last = None
    console = stderr_console()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    bars: dict[str, TaskID] = {}
    with client.pull_events(name, insecure=insecure) as events, progress:
        for event in events:
            last = event
            kind = event.WhichOneof("event")
            if kind == "stage":
                progress.console.print(safe(event.stage), markup=False)
            elif kind == "transfer":
                file = event.transfer.file
                if file not in bars:
                    bars[file] = progress.add_task(safe(_short(file)))
                    if not console.is_terminal:
                        note(f"{_short(file)}, {size_text(event.transfer.total_bytes)}")
                progress.update(
                    bars[file],
                    total=event.transfer.total_bytes,
                    completed=event.transfer.completed_bytes,
                )
    return pulled_model(last)


def _short(file: str) -> str:
    """What is told of a file: a digest's start, or the name."""
    digest = file.removeprefix("sha256:")
    return f"pulling {digest[:_SHOWN_DIGEST_CHARACTERS] if digest != file else file}"
