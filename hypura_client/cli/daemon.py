"""hypuractl status, stop, version: the daemon itself."""

import os
import time
from importlib import metadata
from typing import Annotated, Any

import typer

from hypura.durations import duration_text
from hypura.sizes import size_text
from hypura.v1 import control_pb2 as control
from hypura_client.cli.connection import connected
from hypura_client.cli.options import Json
from hypura_client.cli.output import (
    as_dict,
    enum_text,
    mode_text,
    print_facts,
    print_json,
    print_line,
    print_table,
)
from hypura_client.discovery import locate
from hypura_client.errors import DeadlineExceeded
from hypura_client.launch import QUICK_SILENCE_SECONDS, Probe, check_running, daemon_silent, probe
from hypura_client.sync import Client

# After the answers' grace time the workers have one of their own, before they are killed.
_STOP_MARGIN_SECONDS = 30.0
_STOP_PAUSE_SECONDS = 0.05


def status(json_output: Json = False) -> None:
    """Show the daemon and its loaded models.

    \b
    Examples:
      hypuractl status
      hypuractl status --json
    """
    with connected(quick=True) as client:
        answer = client.status()
    if json_output:
        print_json({"daemon": as_dict(answer.daemon), "models": [model_dict(model) for model in answer.models]})
        return
    daemon = answer.daemon
    print_facts(
        (
            ("daemon", f"{daemon.version}, pid {daemon.pid}, up {daemon.uptime_seconds:.0f} s"),
            ("socket", daemon.socket_path),
            ("home", daemon.home),
            (
                "memory",
                f"{size_text(daemon.planned_bytes)} of {size_text(daemon.memory_budget_bytes)} "
                f"planned; the daemon itself {size_text(daemon.rss_bytes)}",
            ),
            *((("machine", text),) if (text := _measuring_text(daemon.measuring)) else ()),
        )
    )
    if answer.models:
        print_table(
            ("MODEL", "STATE", "MODE", ">MEMORY", ">LIMIT", ">STREAMED", ">HITS", ">REQUESTS", ">UNLOADS IN", ">PID"),
            (_row(model) for model in answer.models),
        )
    for model in answer.models:
        if model.plan.tuned:
            print_line(f"{model.name}: tuned {', '.join(model.plan.tuned)}")
        if model.error:
            print_line(f"{model.name}: {model.error}")


def stop(
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="SECONDS", min=0, max=86400, help="How long running answers may continue."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Stop the daemon and its workers; does nothing when none runs.

    \b
    Examples:
      hypuractl stop
      hypuractl stop --grace 0
    """
    location = locate(os.environ)
    socket_path = location.socket_path
    answer = probe(socket_path)
    was_running = answer is not Probe.ABSENT
    if answer is Probe.SILENT:
        check_running(location)
        if probe(socket_path, QUICK_SILENCE_SECONDS) is Probe.SILENT:
            raise daemon_silent(location, QUICK_SILENCE_SECONDS)
    if was_running:
        with Client(socket_path) as client:
            pid = client.status().daemon.pid
            client.shutdown(grace)
        _wait_for_end(pid, (grace or 0.0) + _STOP_MARGIN_SECONDS)
    if json_output:
        print_json({"was_running": was_running})
    else:
        print_line("the daemon has ended" if was_running else "no daemon runs")


def version(json_output: Json = False) -> None:
    """Show the installed version; needs no daemon.

    \b
    Examples:
      hypuractl version
    """
    try:
        installed = metadata.version("hypura")
    except metadata.PackageNotFoundError:
        installed = "0.1.0+source"
    if json_output:
        print_json({"version": installed})
    else:
        print_line(f"hypura {installed}")


def model_dict(model: control.ModelStatus) -> dict[str, Any]:
    """A model's status as JSON data: name, state, mode and worker_pid first."""
    full = as_dict(model, without=("tensors",))
    mode = full["plan"]["mode"] if full["plan"] else None
    return {"name": full.pop("name"), "state": full.pop("state"), "mode": mode, **full}


def _measuring_text(measuring: control.MeasuringStatus) -> str:
    """What is being measured, what failed, and what is not known of the machine yet; empty when all is known."""
    parts = []
    if measuring.what:
        parts.append(f"measuring {measuring.what} for {measuring.seconds:.0f} s")
    if measuring.error:
        parts.append(f"the last measurement failed: {measuring.error}")
    if not measuring.measured:
        parts.append("until it is measured, loads are planned from what is known of it")
    return "; ".join(parts)


def _row(model: control.ModelStatus) -> tuple[str, ...]:
    counters = model.statistics
    chosen = counters.expert_hits + counters.expert_misses
    return (
        model.name,
        enum_text(control.ModelState.DESCRIPTOR, model.state) or "",
        mode_text(model.plan.mode),
        size_text(counters.rss_bytes or model.loaded.rss_bytes),
        size_text(model.memory_limit_bytes or model.plan.memory_limit_bytes),
        size_text(model.plan.streamed_bytes),
        f"{counters.expert_hits / chosen:.1%}" if chosen else "",
        f"{counters.active_requests}+{counters.queued_requests}",
        _expiry(model),
        str(model.worker_pid or ""),
    )


def _expiry(model: control.ModelStatus) -> str:
    if model.HasField("expires_at_seconds"):
        return duration_text(model.expires_at_seconds - time.time())
    return "pinned" if model.pinned else ""


def _wait_for_end(pid: int, seconds: float) -> None:
    """Returns once the process is gone. Raises DeadlineExceeded."""
    import psutil  # only here: it costs every other command its import

    deadline = time.monotonic() + seconds
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"the daemon (pid {pid}) was asked to stop and still runs after {seconds:g} s; "
                    f"end it with `kill {pid}`"
                )
            time.sleep(_STOP_PAUSE_SECONDS)
    except psutil.NoSuchProcess:
        return
