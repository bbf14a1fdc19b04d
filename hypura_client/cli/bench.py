"""hypuractl bench, iobench: how fast a model and its drive are, and how fast the model could be."""

from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura.v1.tools_pb2 import DriveReading
from hypura_client.bench import cgroup
from hypura_client.bench.contest import Contender, Setup, contest, fits
from hypura_client.bench.drive_sweep import MIB, sweep
from hypura_client.bench.plots import drive_plot
from hypura_client.bench.report import COLUMNS, facts, report, rows
from hypura_client.bench.runs import TimeLimits
from hypura_client.bench.stock import Stock
from hypura_client.cli.connection import connected, is_path, registered_name
from hypura_client.cli.options import Context, Exact, Json, Memory, Model, WeightCacheLimit, load_options
from hypura_client.cli.output import as_dict, note, print_facts, print_json, print_table, stderr_console
from hypura_client.errors import InvalidRequest

_LOAD_SECONDS = 1800.0
_PREFILL_SECONDS = 600.0
_SAFE_SHARE = 0.9
"""Share of the available memory that a run may take: the rest keeps the system responsive."""
_BLOCKS = (64 << 10, 256 << 10, MIB, 4 * MIB)
_DEPTHS = (1, 4, 16)
_THREADS = (1, 2, 4, 8)
_MOST_BYTES = 256 * MIB
"""Largest buffers of one point: larger ones would measure memory."""
_LEAST_POINT_SECONDS = 0.05


def bench(
    model: Model,
    memory: Memory = None,
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="Run stock llama.cpp too: with mmap, without, and all resident if it fits."),
    ] = False,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=2, max=100_000, help="Tokens to decode.")] = 128,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", metavar="N", min=1, max=1_000_000, help="Length of the prompt.")
    ] = 512,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, max=100, help="Runs of each, alternated.")] = 3,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=1, max=86_400, help="Longest decoding of one run.")
    ] = 60.0,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0, max=100, help="At 0 the output may repeat itself.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Sampling seed.")] = 1,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    exact: Exact = False,
    force: Annotated[bool, typer.Option("--force", help="Run even if the machine may run out of memory.")] = False,
    json_output: Json = False,
) -> None:
    """Measure a model: its speed, what a token's time is spent on, and how near that is to what the hardware allows.

    Every run has a worker process of its own, on Linux in a memory cgroup of the size of
    --memory, with the page cache emptied and its memory touched before (hosts of virtual
    machines can be slow to give it). All runs continue the same page of English at temperature 1
    with the same seed: output that repeats itself would make a cache look better than it is.
    Runs alternate; figures are medians.

    \b
    Examples:
      hypuractl bench qwen3 --memory 4GB
      hypuractl bench model.gguf --memory 4GB --baseline --json > bench.json
      hypuractl bench qwen3 --runs 1 --tokens 64 --prompt-tokens 128
    """
    notes: list[str] = []
    with connected() as client:
        name = registered_name(client, model)
        note("asking the daemon for a plan; the first one measures the drive …")
        machine = client.profile(name).profile
        plan = client.plan(name, load_options(memory, context, weight_cache, exact), beyond_budget=True).plan
        if not plan.tensors:
            plan.tensors.extend(client.show(name).tensors)
        repacks = machine.extra_buffers_work
        busy = [entry.name for entry in client.status().models if entry.state == control.MODEL_STATE_READY]
    if busy:
        notes.append(f"the daemon has {', '.join(busy)} loaded, which may disturb; `hypuractl unload` it first")
    import psutil  # only here: it costs every other command its import

    available_bytes: int = psutil.virtual_memory().available
    # A limit that the daemon chooses leaves a reserve for the rest of the system.
    _refuse_too_large(plan, int(available_bytes * (1.0 if memory is None else _SAFE_SHARE)), force)
    contenders = [Contender("hypura", plan, memory)]
    if baseline:
        contenders += _baselines(plan, memory, available_bytes, repacks, force, notes)
    setup = Setup(
        prompt_tokens,
        tokens,
        temperature,
        seed,
        runs,
        TimeLimits(_LOAD_SECONDS, max(_PREFILL_SECONDS, seconds), seconds),
    )

    def predict(drive_bytes_per_second: float) -> float:
        with connected() as client:
            wanted = load_options(memory, context, weight_cache, exact)
            found = client.plan(name, wanted, drive_bytes_per_second=drive_bytes_per_second, beyond_budget=True)
        return found.plan.estimate.tok_per_second

    summary = report(plan, setup, contest(contenders, setup, note), notes, predict)
    if json_output:
        print_json(summary)
        return
    print_table(COLUMNS, rows(summary))
    print_facts(facts(summary))


def iobench(
    model: Annotated[str, typer.Argument(metavar="MODEL|PATH", help="A registered model, or a large file.")],
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=2, max=3600, help="Time of the whole sweep.")
    ] = 20.0,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Plot it too, as .png or .svg.")] = None,
    json_output: Json = False,
) -> None:
    """Measure direct reads from the drive that holds a model: block size × queue depth × threads.

    Reads the model's own file at random places, past the page cache, and writes nothing.

    \b
    Examples:
      hypuractl iobench qwen3
      hypuractl iobench model.gguf --seconds 60 --plot drive.png
    """
    file = _file_of(model)
    points = [point for point in product(_BLOCKS, _DEPTHS, _THREADS) if point[0] * point[1] * point[2] <= _MOST_BYTES]
    each = max(_LEAST_POINT_SECONDS, seconds / len(points) / 1.2)
    readings = _readings(file, points, each)
    if not readings:
        raise InvalidRequest(f"{file} is smaller than the smallest block; name a larger file on the same drive")
    best = max(readings, key=lambda reading: reading.bytes_per_second)
    if plot is not None:
        drive_plot(readings, plot)
    if json_output:
        print_json(_readings_dict(file, readings, best))
        return
    _print_readings(readings, best)
    if plot is not None:
        note(f"plot written to {plot}")


def _refuse_too_large(plan: placement.Plan, spare_bytes: int, force: bool) -> None:
    if plan.memory_limit_bytes > spare_bytes and not force:
        raise InvalidRequest(
            f"{size_text(plan.memory_limit_bytes)} of memory are requested and only {size_text(spare_bytes)} can be "
            "spared now; close other programs, request less with --memory, or run it all the same with --force"
        )


def _baselines(
    plan: placement.Plan, memory: int | None, available_bytes: int, repacks: bool, force: bool, notes: list[str]
) -> list[Contender]:
    """The runs of stock llama.cpp that are safe here; adds to notes what is left out."""
    contenders = [Contender("mmap", plan, memory, Stock(mmap=True, extra_buffers=False))]
    roomy = fits(plan, available_bytes)
    # Without a limit of its own, a model that does not fit would take all memory of the machine.
    limit = memory if memory is not None or roomy else int(_SAFE_SHARE * available_bytes)
    if roomy or force or _can_limit():
        contenders.append(Contender("no_mmap", plan, limit, Stock(mmap=False, extra_buffers=repacks)))
    else:
        notes.append("llama.cpp without mmap was left out: the model does not fit, and no cgroup can limit it")
    if plan.streamed_bytes and roomy:
        contenders.append(Contender("resident", plan, None, Stock(mmap=False, extra_buffers=False)))
    elif plan.streamed_bytes:
        notes.append("the model does not fit into memory here, so the roofline uses the time that hypura computes")
    return contenders


def _can_limit() -> bool:
    try:
        cgroup.make(1 << 30).remove()
    except cgroup.NoCgroup:
        return False
    return True


def _file_of(model: str) -> Path:
    """The file to read for a MODEL argument: a model's largest, so that reads are spread."""
    if is_path(model):
        path = Path(model).expanduser().absolute()
        if not path.is_file():
            raise InvalidRequest(f"{path} is not a file; name a large file on the drive that you want to measure")
        return path
    with connected() as client:
        files = client.show(model).files
    return Path(max(files, key=lambda file: file.size_bytes).path)


def _readings(file: Path, points: list[tuple[int, int, int]], seconds: float) -> list[DriveReading]:
    readings: list[DriveReading] = []
    with stderr_console().status(f"measuring {len(points)} points …") as waiting:
        for reading in sweep(file, points, seconds):
            readings.append(reading)
            waiting.update(f"measuring: {len(readings)} of {len(points)} points")
    return readings


def _readings_dict(file: Path, readings: list[DriveReading], best: DriveReading) -> dict[str, Any]:
    return {"path": str(file), "direct": best.direct, "best": as_dict(best), "points": [as_dict(r) for r in readings]}


def _print_readings(readings: list[DriveReading], best: DriveReading) -> None:
    threads = sorted({reading.threads for reading in readings})
    rates = {(r.block_bytes, r.queue_depth, r.threads): r.bytes_per_second for r in readings}
    print_table(
        ("BLOCK", ">DEPTH", *(f">{count} THREADS" if count > 1 else ">1 THREAD" for count in threads)),
        (
            (
                size_text(block),
                str(depth),
                *(size_text(rates[block, depth, t]) + "/s" if (block, depth, t) in rates else "" for t in threads),
            )
            for block, depth in sorted({(r.block_bytes, r.queue_depth) for r in readings})
        ),
    )
    print_facts(
        (
            (
                "best",
                f"{size_text(best.bytes_per_second)}/s in blocks of {size_text(best.block_bytes)}, "
                f"{best.queue_depth} in flight per thread, {best.threads} thread{'s' if best.threads > 1 else ''}",
            ),
            ("reads", "direct" if best.direct else "through the page cache, which may be faster than the drive"),
        )
    )
