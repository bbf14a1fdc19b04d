"""What the benchmarks draw. matplotlib is an extra, and imported only to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypura.v1.tools_pb2 import DriveReading
from hypura_client.errors import InvalidRequest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = (".png", ".svg", ".pdf")
_INCHES = (7.0, 4.2)
_PARTS = (("compute", "computing"), ("stall", "waiting for reads"), ("overhead", "other work"))


class _Drawing:
    """A figure with one pair of axes, written to its file at the end of `with`."""

    def __init__(self, path: Path, title: str) -> None:
        if path.suffix.lower() not in _KINDS:
            raise InvalidRequest(f"{path} cannot be drawn; end its name with one of {', '.join(_KINDS)}")
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InvalidRequest("drawing needs matplotlib; install it with `pip install hypura[bench]`") from error
        self._path, self._figure = path, Figure(figsize=_INCHES, layout="constrained")
        self._axes: Axes = self._figure.add_subplot()
        self._axes.set_title(title)

    def __enter__(self) -> Axes:
        return self._axes

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._figure.savefig(self._path, dpi=120, metadata=None)
            except OSError as error:
                raise InvalidRequest(f"{self._path} cannot be written: {error.strerror or error}") from error


def drive_plot(readings: Sequence[DriveReading], path: Path) -> None:
    """Bandwidth over block size, a line per number of reads in flight in all (the best split into threads)."""
    best: dict[tuple[int, int], float] = {}
    for reading in readings:
        key = (reading.queue_depth * reading.threads, reading.block_bytes)
        best[key] = max(best.get(key, 0.0), reading.bytes_per_second)
    with _Drawing(path, "Direct reads") as axes:
        for flight in sorted({key[0] for key in best}):
            blocks = sorted(block for reads, block in best if reads == flight)
            axes.plot(
                [b / 1024 for b in blocks], [best[flight, b] / 1e9 for b in blocks], "o-", label=f"{flight} reads"
            )
        axes.set_xscale("log", base=2)
        axes.set(xlabel="block, KiB", ylabel="GB/s", ylim=(0, None))
        axes.legend(title="in flight", fontsize="small")


def speed_plot(entries: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """tok/s over the memory limit, with the roofline and the baselines; entries are reports of one model."""
    with _Drawing(path, title) as axes:
        _line(axes, entries, lambda e: e["decode_tok_per_second"], "hypura", "o-")
        _line(axes, entries, lambda e: e["roofline_tok_per_second"], "roofline", "k--")
        for name, style in (("mmap", "s-"), ("no_mmap", "^-")):
            _line(
                axes,
                entries,
                lambda e, name=name: e["baselines"].get(name, {}).get("decode_tok_per_second"),
                f"llama.cpp, {name.replace('_', ' ')}",
                style,
            )
        axes.set_yscale("log")
        axes.set_yticks([step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_yticks([], minor=True)
        axes.set_ylim(*_limits(entries))
        axes.set(xlabel="memory limit, GB", ylabel="tok/s")
        axes.legend()


def split_plot(entries: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """A token's time in its parts, a bar per memory limit."""
    with _Drawing(path, title) as axes:
        names = [f"{entry['memory_limit_bytes'] / 1e9:.1f} GB" for entry in entries]
        below = [0.0] * len(entries)
        for part, label in _PARTS:
            heights = [1000 * (entry[f"{part}_seconds_per_token"] or 0.0) for entry in entries]
            axes.bar(names, heights, bottom=below, label=label)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        axes.set(ylabel="milliseconds per token", xlabel="memory limit")
        axes.legend()


def policies_plot(rates: Mapping[float, Mapping[str, float]], path: Path, title: str) -> None:
    """Hit rate over the cache's size, a line per policy; rates[cache in MiB][policy] in percent."""
    with _Drawing(path, title) as axes:
        sizes = sorted(rates)
        for name in rates[sizes[0]]:
            style = "k--" if name == "belady" else "o-"
            axes.plot(sizes, [rates[size][name] for size in sizes], style, label=name, markersize=3)
        axes.set(xlabel="cache, MiB", ylabel="decode hits, %", ylim=(0, 100))
        axes.legend(fontsize="small")


def _line(axes: Axes, entries: Sequence[Mapping[str, Any]], figure: Any, label: str, style: str) -> None:
    points = [(entry["memory_limit_bytes"] / 1e9, figure(entry)) for entry in entries if figure(entry)]
    if points:
        axes.plot(*zip(*sorted(points), strict=True), style, label=label)


def _limits(entries: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Of an axis of speeds, with room at both ends."""
    found = [entry[key] for entry in entries for key in ("decode_tok_per_second", "roofline_tok_per_second")]
    found += [b.get("decode_tok_per_second") for entry in entries for b in entry["baselines"].values()]
    speeds = [speed for speed in found if speed] or [1.0]
    return min(speeds) / 1.5, max(speeds) * 1.5
