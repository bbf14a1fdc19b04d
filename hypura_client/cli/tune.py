"""hypuractl tune: measures which settings make a model faster on this machine, and keeps them."""

import math
import time
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

import typer

from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura.v1 import placement_pb2 as placement
from hypura_client.cli.connection import connected, registered_name
from hypura_client.cli.options import Context, Json, Memory, Model, WeightCacheLimit, load_options
from hypura_client.cli.output import as_dict, mode_text, note, print_facts, print_json, print_line, print_table
from hypura_client.errors import InvalidRequest, ServerBusy
from hypura_client.sync import Client
from hypura_client.tuning.axes import Axis, Figure, Planned, Settings, axes
from hypura_client.tuning.campaign import Found, campaign
from hypura_client.tuning.decision import LEAST_PAIRS, Gain, Verdict
from hypura_client.tuning.trial import Trials, to_proto

_MOST_PAIRS = 10
_STREAMING = (placement.MODE_EXPERT_STREAMING, placement.MODE_DENSE_STREAMING)


class Setting(StrEnum):
    """What can be tuned."""

    THREADS = "threads"
    BATCH_THREADS = "batch_threads"
    SPIN_COUNT = "spin_count"
    QUEUE_DEPTH = "queue_depth"
    CHUNK_BYTES = "chunk_bytes"


def tune(
    model: Model,
    memory: Memory = None,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, max=3600, help="Decoding for each value tried.")
    ] = 30.0,
    pairs: Annotated[
        int,
        typer.Option("--pairs", metavar="N", min=LEAST_PAIRS, max=_MOST_PAIRS, help="Pairs of runs for each value."),
    ] = LEAST_PAIRS,
    only: Annotated[
        list[Setting] | None,
        typer.Option("--only", help="Try only this setting; may be repeated. The others stay the planner's."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show what is kept, and measure nothing.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what is kept.")] = False,
    json_output: Json = False,
) -> None:
    """Find the settings with which a model runs fastest on this machine, and keep them for later loads.

    Tries numbers of threads for decoding and for prompts, how long idle threads spin, reads
    in flight and the size of a read, one at a time, each in turns with the best so far. Every
    run loads the model again and continues the same page of English. A value counts if it is
    at least 2 % faster, and by more than the runs differ among themselves. The better values
    together are measured once more against the planner's choice before they are kept.

    Threads can change the last bits of a result, as they do in llama.cpp, so loads with
    --exact never use tuned threads; the other settings must not change the output. Memory is
    not tuned: --memory gives it. The result is used for the mode (resident, expert-streaming,
    dense-streaming) it was measured in, until the hardware, llama-cpp-python or the file changes.

    Nobody else can use the model meanwhile, and it is unloaded at the end.

    \b
    Examples:
      hypuractl tune qwen3 --memory 4GB
      hypuractl tune qwen3 --memory 4GB --seconds 60 --pairs 5 --json
      hypuractl tune qwen3 --show
      hypuractl tune qwen3 --reset
    """
    if show and reset:
        raise typer.BadParameter("--show and --reset exclude each other")
    with connected() as client:
        name = registered_name(client, model)
        if show:
            _show(client.show_tuning(name), json_output)
        elif reset:
            _reset(name, client.forget_tuning(name).was_kept, json_output)
        else:
            _tune(client, name, load_options(memory, context, weight_cache, False), seconds, pairs, only, json_output)


def _tune(
    client: Client,
    name: str,
    options: control.LoadOptions,
    seconds: float,
    pairs: int,
    only: Sequence[Setting] | None,
    json_output: bool,
) -> None:
    name = client.show(name).model.name
    machine = client.profile(name).profile
    notes = _others(client, name)
    trials = Trials(client, name, options, seconds / (2 * pairs))
    began = time.monotonic()
    try:
        note("loading the model as planned …")
        plan = trials.prepare()
        tried = tuple(axis for axis in axes(_planned(machine, plan)) if not only or Setting(axis.name) in only)
        if not tried:
            raise InvalidRequest(f"there is nothing to try: {name} runs {mode_text(plan.mode)} on this machine")
        # A run also loads the model and reads the prompt; preparing was such a run.
        most_seconds = (time.monotonic() - began) * 2 * pairs * (1 + sum(len(axis.values) for axis in tried))
        note(f"{sum(len(axis.values) for axis in tried)} values to try, {math.ceil(most_seconds / 60)} minutes at most")
        found = campaign(trials.run, tried, pairs, note)
        kept = client.keep_tuning(name, _tuning(plan, found))
    finally:
        trials.close()
    summary: dict[str, Any] = {
        "model": name,
        "mode": mode_text(plan.mode),
        "memory_limit_bytes": plan.memory_limit_bytes,
        "kept": found.kept,
        "settings": _settings(found.settings),
        "decode_gain": found.gain(Figure.DECODE),
        "prompt_gain": found.gain(Figure.PROMPT),
        "path": kept.path,
        "trials": [_trial(t.axis, t.value, t.verdict) for t in found.trials],
        "confirmation": {figure.name.lower(): _verdict(v) for figure, v in found.confirmed.items()},
        "pairs": pairs,
        "prompt_tokens": trials.prompt_tokens,
        "tokens": trials.tokens,
        "seconds": time.monotonic() - began,
        "notes": notes,
    }
    if json_output:
        print_json(summary)
        return
    print_table(
        ("SETTING", ">VALUE", "MEASURED", ">GAIN", ">AT LEAST", ">PAIRS", "OUTCOME"),
        map(_row, summary["trials"]),
    )
    print_facts((("kept", _kept(found)), ("in", f"{kept.path}, for {summary['mode']}"), *(("note", n) for n in notes)))


def _others(client: Client, name: str) -> list[str]:
    """Notes about other loaded models. Raises ServerBusy while the model answers requests."""
    notes = []
    for entry in client.status().models:
        if entry.name == name and entry.statistics.active_requests:
            raise ServerBusy(f"{name} is answering requests, which tuning would end; tune it when it is idle")
        if entry.name != name and entry.state == control.MODEL_STATE_READY:
            notes.append(f"{entry.name} was loaded, which may disturb the measurement; `hypuractl unload` it first")
    return notes


def _planned(machine: placement.HardwareProfile, plan: placement.Plan) -> Planned:
    return Planned(
        physical_cores=machine.physical_cores,
        usable_cores=machine.usable_cores,
        threads=plan.threads,
        batch_threads=plan.batch_threads,
        queue_depth=plan.io.queue_depth,
        chunk_bytes=plan.io.chunk_bytes,
        streams=plan.mode in _STREAMING,
    )


def _tuning(plan: placement.Plan, found: Found) -> control.Tuning:
    return control.Tuning(
        mode=plan.mode,
        settings=to_proto(found.settings),
        memory_limit_bytes=plan.memory_limit_bytes,
        decode_gain=found.gain(Figure.DECODE),
        prompt_gain=found.gain(Figure.PROMPT),
    )


def _settings(settings: Settings) -> dict[str, int | None]:
    return {field.name: getattr(settings, field.name) for field in fields(Settings)}


def _trial(axis: Axis, value: int, verdict: Verdict) -> dict[str, Any]:
    return {"setting": axis.name, "value": value, "figure": axis.figure.name.lower(), **_verdict(verdict)}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    def low(gain: Gain | None) -> float | None:
        return gain.low if gain is not None and math.isfinite(gain.low) else None

    return {
        "outcome": verdict.outcome.name.lower().replace("_", "-"),
        "gain": verdict.gain.middle if verdict.gain is not None else None,
        "least_gain": low(verdict.gain),
        "other_gain": verdict.other.middle if verdict.other is not None else None,
        "pairs": verdict.pairs,
        "same_tokens": verdict.same_tokens,
        "message": verdict.message or verdict.outcome.value,
    }


def _row(trial: dict[str, Any]) -> tuple[str, ...]:
    return (
        trial["setting"],
        _value_text(trial["setting"], trial["value"]),
        Figure[trial["figure"].upper()].value,
        _percent(trial["gain"]),
        _percent(trial["least_gain"]),
        str(trial["pairs"]),
        trial["message"],
    )


def _percent(share: float | None) -> str:
    return f"{share:+.1%}" if share is not None else ""


def _value_text(name: str, value: int) -> str:
    return size_text(value) if name.endswith("_bytes") else str(value)


def _kept(found: Found) -> str:
    if not found.kept:
        return "nothing: the planner's choice is as good"
    chosen = {name: value for name, value in _settings(found.settings).items() if value is not None}
    chosen_text = ", ".join(f"{name} {_value_text(name, value)}" for name, value in chosen.items())
    return f"{chosen_text}: decoding {found.gain(Figure.DECODE):+.1%}, prompts {found.gain(Figure.PROMPT):+.1%}"


def _show(answer: control.ShowTuningResponse, json_output: bool) -> None:
    if json_output:
        print_json(as_dict(answer))
        return
    if not answer.tunings:
        print_line(f"{answer.model} was never tuned; `hypuractl tune {answer.model}` does that")
        return
    print_table(
        ("MODE", "SETTINGS", ">DECODING", ">PROMPTS", ">MEMORY", "MEASURED", "USED"),
        (
            (
                mode_text(tuning.mode),
                ", ".join(f"{f.name} {_value_text(f.name, value)}" for f, value in tuning.settings.ListFields())
                or "the planner's",
                _percent(tuning.decode_gain),
                _percent(tuning.prompt_gain),
                size_text(tuning.memory_limit_bytes),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(tuning.measured_at_seconds)),
                "no: the hardware or llama-cpp-python changed; tune again" if tuning.stale else "yes",
            )
            for tuning in answer.tunings
        ),
    )
    print_facts((("in", answer.path),))


def _reset(name: str, was_kept: bool, json_output: bool) -> None:
    if json_output:
        print_json({"model": name, "was_kept": was_kept})
    else:
        print_line(
            f"{name}: tuning forgotten; the next load uses the planner's settings"
            if was_kept
            else f"{name} had no tuning"
        )
