"""`python -m tests.bench.suite --out docs/bench`: the benchmark over synthetic models of real shapes.

shape ─► model file ─► hypuractl bench, per memory limit ─► SHAPE.json, plots of speed and of a token's time
      └► hypuractl trace record, replay per cache size ──► policies of SHAPE, plot
all ─► README.md with one table; drive.json and drive.png from hypuractl iobench
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypura_client.bench import plots
from hypura_client.errors import HypuraError
from tests.models.writer import write_synthetic_model

_COMMAND_SECONDS = 7200
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One model and how it is measured. memory: limits as hypuractl takes them; None for the whole machine."""

    shape: str
    layers: int | None
    memory: tuple[str | None, ...]
    cache_mib: tuple[int, ...] = ()


SMALL = (
    Case("qwen3-30b-a3b", 6, ("900MB", "1.4GB", "2GB"), (40, 90, 250, 500, 1000)),
    Case("mixtral-8x7b", 2, ("1.2GB", "1.6GB")),
    Case("gpt-oss-120b", 2, ("1.8GB", "2.6GB")),
    Case("llama-70b", 3, ("2.2GB", "2.8GB")),
)
FULL = (
    Case("qwen3-30b-a3b", None, ("2.5GB", "4GB", "6GB", "8GB", "12GB"), (350, 700, 1400, 2000, 4000, 8000)),
    Case("mixtral-8x7b", None, (None, "12GB")),
    Case("gpt-oss-120b", 6, ("4GB", "8GB"), (500, 1000, 2000, 4000)),
    Case("llama-70b", 24, ("6GB", "10GB")),
)
_SMALL_OPTIONS = ("--runs", "2", "--tokens", "64", "--prompt-tokens", "128", "--seconds", "20")
_FULL_OPTIONS = ("--runs", "3", "--tokens", "500", "--prompt-tokens", "512", "--seconds", "120")
_TRACE_MIB = (350, 700, 1000, 1500, 2000, 3000, 4000, 6000, 8000)
_COLUMNS = (
    "model",
    "memory",
    "mode",
    "tok/s",
    "roofline",
    "ratio",
    "predicted",
    "hits",
    "MB/token",
    "first token",
    "mmap tok/s",
    "speedup",
    "no mmap",
)


class Suite:
    """Runs hypuractl against a daemon of its own, in a folder of its own, and keeps what it says."""

    def __init__(self, out: Path, work: Path, options: Sequence[str]) -> None:
        self._out, self._work, self._options = out, work, tuple(options)
        self._home = Path(tempfile.mkdtemp(prefix="hypura-"))
        self._environment = {**os.environ, "HYPURA_HOME": str(self._home), "HYPURA_HTTP": "127.0.0.1:0"}
        out.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """End the daemon and remove its home."""
        try:
            self._hypuractl("stop", "--grace", "0", "--json")
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def measure(self, case: Case, *, keep: bool) -> list[dict[str, Any]]:
        """The reports, one per memory limit; files and plots are written, and the model removed unless kept."""
        name = case.shape if case.layers is None else f"{case.shape}-{case.layers}-layers"
        model = self._work / f"{name}.gguf"
        if not model.exists():
            print(f"writing {model}", flush=True)
            write_synthetic_model(case.shape, model, layers=case.layers, progress=sys.stderr.isatty())
        try:
            entries = [self._bench(model, limit) for limit in case.memory]
            self._write(f"{name}.json", entries)
            plots.speed_plot(entries, self._out / f"{name}-speed.png", f"{name}: decoding")
            plots.split_plot(entries, self._out / f"{name}-split.png", f"{name}: where a token's time goes")
            if case.cache_mib:
                self._policies(case, name, model)
        finally:
            if not keep:
                model.unlink(missing_ok=True)
        return entries

    def replay(self, trace: Path, cache_mib: Sequence[int]) -> None:
        """Compare the policies on a recorded trace, per cache size."""
        rates: dict[float, Any] = {
            mib: self._hypuractl("trace", "replay", str(trace), "--cache-mib", str(mib), "--json")["policies"]
            for mib in cache_mib
        }
        self._write(f"{trace.stem}-policies.json", rates)
        plots.policies_plot(rates, self._out / f"{trace.stem}-policies.png", f"{trace.stem}: hits by policy")

    def drive(self, model: Path) -> None:
        """Sweep the drive by reading this file."""
        found = self._hypuractl("iobench", str(model), "--plot", str(self._out / "drive.png"), "--json")
        found.pop("path")  # another machine's paths say nothing
        self._write("drive.json", found)

    def table(self, entries: Sequence[Mapping[str, Any]], machine: str) -> None:
        """README.md: one row per run."""
        rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(_row(entry) for entry in entries)]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        notes = [f"{entry['model']}, {_limit(entry)}: {note}" for entry in entries for note in entry["notes"]]
        text = [
            "# Benchmarks",
            "",
            f"Written by `make bench` on {machine}. Synthetic models of real shapes; every run in a memory cgroup of "
            "the size under *memory*, caches emptied and its memory touched before, the same prompt, sampling and "
            "threads for llama.cpp of the same build. *Roofline* is the speed at which either computing or reading "
            "what was used takes all of a token's time; *ratio* is how much of it was reached.",
            "",
            *lines,
            *(["", "Notes:", "", *(f"- {note}" for note in notes)] if notes else []),
            "",
            *(f"![{plot.stem}]({plot.name})\n" for plot in sorted(self._out.glob("*.png"))),
        ]
        (self._out / "README.md").write_text("\n".join(text).rstrip("\n") + "\n")

    def _bench(self, model: Path, limit: str | None) -> dict[str, Any]:
        memory = ("--memory", limit) if limit is not None else ()
        entry = self._hypuractl("bench", str(model), *memory, "--baseline", *self._options, "--json")
        entry["model"] = model.stem
        print(f"{model.stem} in {limit or 'all memory'}: {entry['decode_tok_per_second'] or 0:.2f} tok/s", flush=True)
        return entry

    def _policies(self, case: Case, name: str, model: Path) -> None:
        trace = self._work / f"{name}.csv"
        tokens = self._options[self._options.index("--tokens") + 1]
        self._hypuractl("trace", "record", str(model), "--tokens", tokens, "--out", str(trace), "--json")
        try:
            self.replay(trace, case.cache_mib)
        finally:
            trace.unlink(missing_ok=True)

    def _hypuractl(self, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "hypura_client.cli.main", *arguments]
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, env=self._environment, timeout=_COMMAND_SECONDS, check=False
        )
        found: dict[str, Any] = json.loads(ended.stdout or b"{}")
        if ended.returncode != 0:
            raise SystemExit(f"hypuractl {' '.join(arguments)} failed: {found.get('error', {}).get('message', '')}")
        return found

    def _write(self, name: str, value: object) -> None:
        (self._out / name).write_text(json.dumps(value, indent=1) + "\n")


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    mmap, plain = entry["baselines"].get("mmap", {}), entry["baselines"].get("no_mmap", {})
    return (
        str(entry["model"]),
        _limit(entry),
        str(entry["mode"]),
        _figure(entry["decode_tok_per_second"]),
        _figure(entry["roofline_tok_per_second"]),
        _share(entry["roofline_ratio"]),
        _figure(entry["predicted_tok_per_second"]),
        _share(entry["hit_rate"]),
        f"{(entry['bytes_read_per_token'] or 0) / 1e6:.0f}",
        f"{entry['ttft_seconds'] or 0:.1f} s",
        _figure(mmap.get("decode_tok_per_second")),
        f"{mmap['speedup']:.1f} ×" if mmap.get("speedup") else "",
        "killed" if plain.get("killed") else _figure(plain.get("decode_tok_per_second")),
    )


def _limit(entry: Mapping[str, Any]) -> str:
    return f"{entry['memory_limit_bytes'] / 1e9:.1f} GB"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _machine() -> str:
    import psutil

    memory = psutil.virtual_memory().total / 1e9
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB of memory"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/bench"))
    parser.add_argument("--work", type=Path, default=Path(".run/bench"), help="where the models are written")
    parser.add_argument("--full", action="store_true", help="the whole models: hours, and 40 GB of disk at a time")
    parser.add_argument("--keep", action="store_true", help="keep the models for the next time")
    parser.add_argument("--trace", action="append", default=[], type=Path, help="replay this recording too")
    parser.add_argument("--only", action="append", default=[], help="only this shape; may be repeated")
    arguments = parser.parse_args()
    cases = [case for case in (FULL if arguments.full else SMALL) if not arguments.only or case.shape in arguments.only]
    if not cases:
        parser.error(f"no case has the shape {', '.join(arguments.only)}")
    suite = Suite(
        arguments.out.absolute(), arguments.work.absolute(), _FULL_OPTIONS if arguments.full else _SMALL_OPTIONS
    )
    try:
        entries = [entry for case in cases for entry in suite.measure(case, keep=arguments.keep)]
        for trace in arguments.trace:
            suite.replay(trace.absolute(), _TRACE_MIB)
        suite.drive(_large_file(arguments.work.absolute()))
        suite.table(entries, _machine())
    except HypuraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        suite.close()
        (arguments.work / "drive.bin").unlink(missing_ok=True)
    print(f"written to {arguments.out}")
    return 0


def _large_file(work: Path) -> Path:
    """A file to sweep the drive with: a model that was kept, or one made for it."""
    kept = max(work.glob("*.gguf"), key=lambda path: path.stat().st_size, default=None)
    if kept is not None:
        return kept
    path = work / "drive.bin"
    with path.open("wb") as file:
        for _ in range(2048):
            file.write(os.urandom(_MIB))
    return path


if __name__ == "__main__":
    sys.exit(main())
