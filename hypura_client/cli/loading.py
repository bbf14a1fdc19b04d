"""hypuractl load, unload; and the progress that every load shows."""

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from hypura.v1 import control_pb2 as control
from hypura_client.calls import loaded_status
from hypura_client.cli.options import (
    Context,
    Exact,
    Json,
    KeepAlive,
    Memory,
    Model,
    WeightCacheLimit,
    load_options,
)
from hypura_client.cli.output import note, print_json, print_line, safe, stderr_console
from hypura_client.cli.planning import mode_text
from hypura_client.cli.session import connected, registered
from hypura_client.cli.sizes import size_text
from hypura_client.cli.status import model_dict
from hypura_client.sync import Client


def load(
    model: Model,
    memory: Memory = None,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    exact: Exact = False,
    keep_alive: KeepAlive = None,
    pin: Annotated[bool, typer.Option("--pin", help="Keep it loaded until it is unloaded by name.")] = False,
    json_output: Json = False,
) -> None:
    """Load a model.

    \b
    Examples:
      hypuractl load qwen3 --memory 4GB --keep-alive 10m
      hypuractl load model.gguf --memory 8GB --context 16384 --pin
    """
    options = load_options(memory, context, weight_cache, exact, pin, keep_alive)
    with connected() as client:
        status = load_with_progress(client, registered(client, model), options)
    if json_output:
        print_json(model_dict(status))
        return
    plan = status.plan
    print_line(
        f"{status.name} is ready: {mode_text(plan.mode)}, {size_text(plan.resident_bytes)} resident, "
        f"{size_text(plan.streamed_bytes)} streamed, loaded in {status.loaded.load_seconds:.1f} s"
    )


def unload(model: Model, json_output: Json = False) -> None:
    """Unload a model.

    \b
    Examples:
      hypuractl unload qwen3
    """
    with connected(quick=True) as client:
        name = registered(client, model)
        was_loaded = client.unload(name).was_loaded
    if json_output:
        print_json({"model": name, "was_loaded": was_loaded})
    else:
        print_line(f"{name} is unloaded" if was_loaded else f"{name} was not loaded")


def load_with_progress(client: Client, model: str, options: control.LoadOptions) -> control.ModelStatus:
    """Loads a model with a bar on stderr, or a line per stage where stderr is no terminal."""
    last = None
    console = stderr_console()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with client.load_events(model, options) as events, progress:
        task = progress.add_task(f"loading {safe(model)}", total=1.0)
        for event in events:
            last = event
            kind = event.WhichOneof("event")
            if kind == "progress":
                progress.update(task, completed=event.progress)
            elif kind == "stage":
                progress.update(task, description=safe(event.stage))
                if not console.is_terminal:
                    note(event.stage)
    return loaded_status(last)
