"""hypuractl iobench: what the model's drive gives, by block size, reads in flight and threads."""

from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from hypura_client.bench.drive import MIB, Reading, sweep
from hypura_client.bench.plots import drive_plot
from hypura_client.cli.options import Json
from hypura_client.cli.output import note, print_facts, print_json, print_table, stderr_console
from hypura_client.cli.session import connected, is_path
from hypura_client.cli.sizes import size_text
from hypura_client.errors import InvalidRequest

_BLOCKS = (64 << 10, 256 << 10, MIB, 4 * MIB)
_DEPTHS = (1, 4, 16)
_THREADS = (1, 2, 4, 8)
_MOST_BYTES = 256 * MIB
"""Buffers of one point: larger ones measure memory."""
_LEAST_POINT_SECONDS = 0.05


def iobench(
    model: Annotated[str, typer.Argument(metavar="MODEL|PATH", help="A registered model, or a large file.")],
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=2, max=3600, help="For the whole sweep.")
    ] = 20.0,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw it too, as .png or .svg.")] = None,
    json_output: Json = False,
) -> None:
    """Measure direct reads from the drive that holds a model: block size × queue depth × threads.

    Reads the model's own file at random places, past the page cache, and writes nothing.

    \b
    Examples:
      hypuractl iobench qwen3
      hypuractl iobench model.gguf --seconds 60 --plot drive.png
    """
    file = _file(model)
    points = [point for point in product(_BLOCKS, _DEPTHS, _THREADS) if point[0] * point[1] * point[2] <= _MOST_BYTES]
    each = max(_LEAST_POINT_SECONDS, seconds / len(points) / 1.2)
    readings = _measured(file, points, each)
    if not readings:
        raise InvalidRequest(f"{file} is smaller than the smallest block; name a larger file on the same drive")
    best = max(readings, key=lambda reading: reading.bytes_per_second)
    if plot is not None:
        drive_plot(readings, plot)
    if json_output:
        print_json(_as_json(file, readings, best))
        return
    _print(readings, best)
    if plot is not None:
        note(f"drawn to {plot}")


def _file(model: str) -> Path:
    """The file that stands for a MODEL argument: the largest of a model's, so that reads are spread."""
    if is_path(model):
        path = Path(model).expanduser().absolute()
        if not path.is_file():
            raise InvalidRequest(f"{path} is no file; name a large file on the drive that you want to measure")
        return path
    with connected() as client:
        files = client.show(model).files
    return Path(max(files, key=lambda file: file.size_bytes).path)


def _measured(file: Path, points: list[tuple[int, int, int]], seconds: float) -> list[Reading]:
    readings: list[Reading] = []
    with stderr_console().status(f"measuring {len(points)} points …") as waiting:
        for reading in sweep(file, points, seconds):
            readings.append(reading)
            waiting.update(f"measuring: {len(readings)} of {len(points)} points")
    return readings


def _as_json(file: Path, readings: list[Reading], best: Reading) -> dict[str, Any]:
    def entry(reading: Reading) -> dict[str, Any]:
        return {name: getattr(reading, name) for name in Reading.__slots__}

    return {"path": str(file), "direct": best.direct, "best": entry(best), "points": [entry(r) for r in readings]}


def _print(readings: list[Reading], best: Reading) -> None:
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
                f"{best.queue_depth} in flight per thread, {best.threads} threads",
            ),
            ("reads", "direct" if best.direct else "through the page cache, which may flatter"),
        )
    )
