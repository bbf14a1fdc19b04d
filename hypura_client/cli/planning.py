"""hypuractl profile, plan, load, unload: what the machine has, and how a model uses it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura_client.calls import loaded_status
from hypura_client.cli.connection import connected, is_path, registered_name
from hypura_client.cli.daemon import model_dict
from hypura_client.cli.models import print_tensors
from hypura_client.cli.options import (
    Context,
    Exact,
    Json,
    KeepAlive,
    Memory,
    Model,
    Tensors,
    WeightCacheLimit,
    load_options,
)
from hypura_client.cli.output import (
    as_dict,
    enum_text,
    mode_text,
    note,
    print_facts,
    print_json,
    print_line,
    print_table,
    safe,
    stderr_console,
)
from hypura_client.sync import Client

_MOST_LISTED = 10
_COMMON_TYPES = ("F16", "Q8_0", "Q6_K", "Q4_K", "Q4_0", "MXFP4")


def profile(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="The model, file or folder whose drive to measure.")
    ] = "",
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure again.")] = False,
    json_output: Json = False,
) -> None:
    """Describe the machine: processor, memory, GPUs, and the drive that holds the models.

    \b
    Examples:
      hypuractl profile
      hypuractl profile model.gguf --refresh --json
    """
    where = str(Path(model).expanduser().absolute()) if model and is_path(model) else model
    with connected(quick=True) as client:
        found = client.profile(where, refresh=refresh).profile
    if json_output:
        print_json(as_dict(found))
        return
    print_facts(
        (
            ("processor", found.cpu),
            ("cores", f"{found.usable_cores} usable, {found.physical_cores} physical"),
            (
                "memory",
                f"{size_text(found.container_limit_bytes)}, {size_text(found.memory_available_bytes)} "
                f"available, {size_text(found.memory_bytes_per_second)}/s",
            ),
            ("products of", _speeds(found)),
            *((gpu.name, f"{gpu.description}, {_gpu_memory(gpu)}") for gpu in found.gpus),
            *((f"drive {drive.mount}", _drive(drive)) for drive in found.drives),
            ("llama-cpp-python", found.llama_cpp_python_version),
            ("weight repacking", "works" if found.extra_buffers_work else "fails on this processor; not used"),
        )
    )


def plan(
    model: Model,
    memory: Memory = None,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    exact: Exact = False,
    tensors: Tensors = False,
    json_output: Json = False,
) -> None:
    """Show how a model would be loaded, and how fast it should run.

    \b
    Examples:
      hypuractl plan qwen3 --memory 4GB
      hypuractl plan model.gguf --memory 8GB --context 16384 --tensors --json
    """
    options = load_options(memory, context, weight_cache, exact)
    with connected(quick=True) as client:
        answer = client.plan(registered_name(client, model), options)
    planned = answer.plan
    if json_output:
        described = as_dict(planned, without=() if tensors else ("tensors",))
        print_json({**described, "limiting_budget_bytes": answer.limiting_budget_bytes or None})
        return
    print_facts(_plan_facts(planned, _limit_text(answer.limiting_budget_bytes, memory or 0)))
    print_table(("MEMORY", ">SIZE"), ((item.name, size_text(item.size_bytes)) for item in planned.memory))
    if tensors:
        print_tensors(planned.tensors)


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
        status = load_with_progress(client, registered_name(client, model), options)
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
        name = registered_name(client, model)
        was_loaded = client.unload(name).was_loaded
    if json_output:
        print_json({"model": name, "was_loaded": was_loaded})
    else:
        print_line(f"{name} is unloaded" if was_loaded else f"{name} was not loaded")


def load_with_progress(client: Client, model: str, options: control.LoadOptions) -> control.ModelStatus:
    """Loads a model with a bar on stderr, or with a line per stage where stderr is not a terminal."""
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


def _gpu_memory(gpu: placement.GpuDevice) -> str:
    shared = ", shared with the processor" if gpu.unified else ""
    return f"{size_text(gpu.free_bytes)} of {size_text(gpu.total_bytes)} free{shared}"


def _speeds(profile: placement.HardwareProfile) -> str:
    """Products per type, for the types that most models use."""
    return ", ".join(
        f"{speed.type} {size_text(speed.bytes_per_second)}/s"
        for speed in profile.type_speeds
        if speed.type in _COMMON_TYPES
    )


def _drive(drive: placement.DriveProfile) -> str:
    if not drive.measured_at_seconds:
        return f"{drive.filesystem}, not measured yet"
    return (
        f"{size_text(drive.bytes_per_second)}/s in reads of {size_text(drive.best_block_bytes)}, "
        f"{drive.best_queue_depth} at once, {'direct' if drive.direct else 'through the page cache'} "
        f"({drive.filesystem} {drive.device})"
    )


def _numbers(layers: Sequence[int]) -> str:
    """Consecutive layers as a range; others one by one, as many as fit on a line."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    if len(layers) > _MOST_LISTED:
        return f"{', '.join(map(str, layers[:_MOST_LISTED]))} … {layers[-1]}"
    return ", ".join(map(str, layers))


def _limit_text(limiting_budget_bytes: int, requested_bytes: int) -> str:
    """Why a plan keeps to less memory than requested; empty if it does not."""
    if not limiting_budget_bytes:
        return ""
    return (
        f"the daemon's budget for all models is {size_text(limiting_budget_bytes)}, less than the "
        f"{size_text(requested_bytes)} of --memory, so the budget is the limit; "
        "set it with `hypurad --memory` or HYPURA_MEMORY"
    )


def _plan_facts(plan: placement.Plan, limit: str) -> Iterable[tuple[str, str]]:
    estimate = plan.estimate
    bound = enum_text(placement.Bound.DESCRIPTOR, estimate.bound)
    yield "model", f"{plan.model} ({plan.architecture}, {size_text(plan.model_bytes)})"
    yield "mode", f"{mode_text(plan.mode)}: {plan.reason}"
    yield "resident", size_text(plan.resident_bytes)
    yield "streamed", size_text(plan.streamed_bytes)
    yield (
        "memory",
        f"{size_text(sum(item.size_bytes for item in plan.memory))} of {size_text(plan.memory_limit_bytes)}",
    )
    yield "limit", limit
    for group in plan.experts.groups:
        yield (
            "slots",
            f"{group.slots} for {len(group.layers) * plan.experts.experts_per_layer} experts, "
            f"{size_text(group.slot_bytes)} each; layers {_numbers(group.layers)}",
        )
    if plan.HasField("dense"):
        yield (
            "layers",
            f"{plan.dense.streamed_tensors} of {plan.dense.streamed_tensors + plan.dense.pinned_tensors} large tensors "
            f"streamed through a ring of {size_text(plan.dense.ring_depth * plan.dense.ring_slot_bytes)}, "
            f"the others pinned",
        )
    yield (
        "context",
        f"{plan.context_tokens} tokens for {plan.sequences} sequences, {plan.kv_type_k}/{plan.kv_type_v}, "
        f"{size_text(plan.kv_bytes)}",
    )
    yield (
        "computing",
        f"{plan.threads} threads, {plan.batch_threads} for prompts, ubatch {plan.ubatch_tokens}, "
        f"{plan.gpu_layers} layers on the GPU"
        + (", attention unfused" if plan.unfused_attention else "")
        + (", exact" if plan.exact else ""),
    )
    yield (
        "reading",
        f"{size_text(plan.io.chunk_bytes)} × {plan.io.queue_depth}, "
        f"{'direct' if plan.io.direct else 'through the page cache'}",
    )
    yield "tuned", f"{', '.join(plan.tuned)} (`hypuractl tune {plan.model} --show`)" if plan.tuned else ""
    yield (
        "estimate",
        f"{estimate.tok_per_second:.2f} tok/s, limited by {bound or 'an unknown bound'}; "
        f"{estimate.ttft_seconds:.1f} s to the first token of 512; hit rate {estimate.hit_rate:.1%}; "
        f"{size_text(estimate.bytes_read_per_token)} read per token",
    )
