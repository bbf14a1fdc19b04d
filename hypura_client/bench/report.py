"""A contest's results as one JSON object, and as a table for people. No effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypura.sizes import size_text
from hypura.v1 import placement_pb2 as placement
from hypura_client.bench.contest import Results, Setup
from hypura_client.bench.runs import Run, agreement, middle, repetition, roofline_seconds, spread

_FIGURES: dict[str, Callable[[Run], float | None]] = {
    "decode_tok_per_second": lambda run: run.decode_tok_per_second,
    "prefill_tok_per_second": lambda run: run.prefill_tok_per_second,
    "ttft_seconds": lambda run: run.ttft_seconds,
    "load_seconds": lambda run: run.load_seconds,
    "hit_rate": lambda run: run.hit_rate,
    "bytes_read_per_token": lambda run: run.read_bytes,
    "used_bytes_per_token": lambda run: run.used_bytes,
    "stall_seconds_per_token": lambda run: run.stall_seconds,
    "compute_seconds_per_token": lambda run: run.compute_seconds,
    "overhead_seconds_per_token": lambda run: run.overhead_seconds,
    "system_seconds_per_token": lambda run: run.system_seconds,
    "drive_bytes_per_second": lambda run: run.drive_bytes_per_second,
    "peak_rss_bytes": lambda run: run.peak_bytes,
    "written_bytes": lambda run: run.written_bytes,
    "others_processor_share": lambda run: run.others_share,
}
_REPETITIVE = 0.2
_BUSY_SHARE = 0.1


def report(
    plan: placement.Plan,
    setup: Setup,
    results: Results,
    notes: Sequence[str],
    predict: Callable[[float], float] | None = None,
) -> dict[str, Any]:
    """The JSON object of `hypuractl bench`; "hypura" is the first contender, "resident" the all-resident run.

    predict: the planner's tok/s for a drive of that many bytes per second; without it the plan's own estimate.
    """
    ours = results.runs["hypura"]
    summary = _contender(ours)
    token_ids = list(ours[0].token_ids) if ours else []
    resident = results.runs.get("resident", [])
    resident_seconds = middle(resident, lambda run: run.token_seconds)
    speed, computing = summary["decode_tok_per_second"], summary["compute_seconds_per_token"]
    resident_counts = resident_seconds is not None and resident_seconds <= (computing or resident_seconds)
    # A disturbed resident run must not lower the roofline: what we computed in less time can be computed in less.
    compute = resident_seconds if resident_counts else computing
    used = summary["used_bytes_per_token"] or 0.0 if plan.streamed_bytes else 0.0
    rate = summary["drive_bytes_per_second"]
    predicted = predict(rate) if predict is not None and rate else plan.estimate.tok_per_second
    floor = None if compute is None else roofline_seconds(compute, used, summary["drive_bytes_per_second"])
    if results.no_cgroup:
        notes = [*notes, f"no memory cgroup could be made, so the limit was not enforced: {results.no_cgroup}"]
    shares = [run.others_share for runs in results.runs.values() for run in runs if run.others_share is not None]
    if shares and max(shares) > _BUSY_SHARE:
        notes = [*notes, f"other programs took up to {max(shares):.0%} of the processor: the figures are too low"]
    slowest = max(results.first_touches, key=lambda touch: touch.seconds / touch.size_bytes, default=None)
    if slowest is not None and slowest.slow:
        notes = [
            *notes,
            f"touching {size_text(slowest.size_bytes)} of memory took {slowest.seconds:.1f} s before a run: this "
            "machine's host gives memory only then, so loads wait for memory that nothing has touched yet",
        ]
    if repetition(token_ids) > _REPETITIVE:
        notes = [*notes, "the output repeats itself, which makes hit rates higher than those of real text"]
    baselines = {
        name: _baseline(name, results, ours, speed)
        for name in ("mmap", "no_mmap")
        if name in results.runs or name in results.failures
    }
    return {
        "model": plan.model,
        "mode": placement.Mode.Name(plan.mode).removeprefix("MODE_").lower().replace("_", "-"),
        "memory_limit_bytes": plan.memory_limit_bytes,
        "model_bytes": plan.model_bytes,
        "streamed_bytes": plan.streamed_bytes,
        **summary,
        "roofline_tok_per_second": 1 / floor if floor else None,
        "roofline_ratio": speed * floor if speed is not None and floor else None,
        "roofline_compute_seconds": compute,
        "roofline_compute_of": "the all-resident run" if resident_counts else "the time computing",
        "predicted_tok_per_second": predicted or None,
        "token_ids": token_ids,
        "same_tokens_in_all_runs": all(run.token_ids == ours[0].token_ids for run in ours if not run.killed),
        "baselines": baselines,
        "prompt_tokens": len(results.prompt_ids),
        "sampling": {"temperature": setup.temperature, "top_k": 0, "top_p": 1.0, "seed": setup.seed},
        "repetition": repetition(token_ids),
        "threads": plan.threads,
        "ubatch_tokens": plan.ubatch_tokens,
        "cgroup": results.cgroup or None,
        "caches_dropped": results.caches_dropped,
        "notes": list(notes),
    }


def _contender(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians, and the extremes under "spread"."""
    spreads = {name: spread(runs, figure) for name, figure in _FIGURES.items()}
    return {
        **{name: found.median if found is not None else None for name, found in spreads.items()},
        "killed": any(run.killed for run in runs),
        "cut": any(run.cut for run in runs),
        "runs": len(runs),
        "spread": {name: [found.low, found.high] for name, found in spreads.items() if found is not None},
    }


def _baseline(name: str, results: Results, ours: Sequence[Run], speed: float | None) -> dict[str, Any]:
    if name in results.failures:
        return {"killed": False, "error": results.failures[name]}
    runs = results.runs[name]
    if any(run.killed for run in runs):
        return {"killed": True, "runs": len(runs)}
    summary = _contender(runs)
    theirs = summary["decode_tok_per_second"]
    return {
        **summary,
        "token_ids": list(runs[0].token_ids),
        "same_choices": agreement(ours[0].token_ids, runs[0].token_ids),
        "speedup": speed / theirs if speed is not None and theirs else None,
    }


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Name and figures of every contender, for a table with the columns of COLUMNS."""
    table = [_row("hypura", summary)]
    for name, entry in summary["baselines"].items():
        title = f"llama.cpp, {name.replace('_', ' ')}"
        if entry["killed"] or "error" in entry:
            table.append((title, "killed" if entry["killed"] else "failed", *[""] * (len(COLUMNS) - 2)))
        else:
            table.append(_row(title, entry))
    return table


COLUMNS = ("", ">TOK/S", ">LOW-HIGH", ">PROMPT TOK/S", ">FIRST TOKEN", ">LOAD", ">HITS", ">READ/TOKEN", ">SPEEDUP")


def _row(title: str, entry: dict[str, Any]) -> tuple[str, ...]:
    extremes = entry["spread"].get("decode_tok_per_second")
    return (
        title,
        _number(entry["decode_tok_per_second"]),
        f"{_number(extremes[0])}-{_number(extremes[1])}" if extremes else "",
        _number(entry["prefill_tok_per_second"]),
        _seconds(entry["ttft_seconds"]),
        _seconds(entry["load_seconds"]),
        f"{entry['hit_rate']:.1%}" if entry["hit_rate"] is not None else "",
        size_text(entry["bytes_read_per_token"]) if entry["bytes_read_per_token"] is not None else "",
        f"{entry['speedup']:.2f} ×" if entry.get("speedup") else "",
    )


def facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Further facts for people, one pair a line."""
    split = [
        f"{_milliseconds(summary[f'{part}_seconds_per_token'])} {text}"
        for part, text in (("compute", "computing"), ("stall", "waiting for reads"), ("overhead", "other work"))
        if summary[f"{part}_seconds_per_token"] is not None
    ]
    ratio = summary["roofline_ratio"]
    drive = summary["drive_bytes_per_second"]
    predicted, speed = summary["predicted_tok_per_second"], summary["decode_tok_per_second"]
    return [
        ("a token's time", ", ".join(split)),
        ("drive", f"{size_text(drive)}/s" if drive else ""),
        (
            "roofline",
            f"{_number(summary['roofline_tok_per_second'])} tok/s; reached {ratio:.1%} (computing: "
            f"{summary['roofline_compute_of']})"
            if ratio
            else "",
        ),
        (
            "predicted",
            f"{_number(predicted)} tok/s" + (f", off by {predicted / speed - 1:+.0%}" if speed else "")
            if predicted
            else "",
        ),
        (
            "conditions",
            f"{summary['runs']} runs, prompt {summary['prompt_tokens']} tokens, temperature "
            f"{summary['sampling']['temperature']:g}, seed {summary['sampling']['seed']}; caches emptied of "
            f"{summary['caches_dropped']}; cgroup {summary['cgroup'] or 'none'}",
        ),
        *(("note", note) for note in summary["notes"]),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _milliseconds(value: float) -> str:
    return f"{1000 * value:.1f} ms"
