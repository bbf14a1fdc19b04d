"""hypuractl trace: recorded routings, and what each replacement policy makes of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hypura_client.cli.options import Json
from hypura_client.cli.output import note, print_facts, print_json, print_table
from hypura_client.cli.sizes import size_text
from hypura_client.errors import DeadlineExceeded, InvalidRequest, UnexpectedReply

_REPLAY_SECONDS = 3600.0
_REPLAYED_BELOW = "hypura_worker.streaming.replacement.replay"

app = typer.Typer(help="Record which experts a model routes to, and replay it against cache policies.")


@app.command("replay")
def replay(
    file: Annotated[Path, typer.Argument(help="A recorded trace.")],
    cache_mib: Annotated[
        float, typer.Option("--cache-mib", metavar="MIB", min=0.001, max=2**30, help="Memory for experts, in MiB.")
    ],
    json_output: Json = False,
) -> None:
    """Say what share of a trace's experts each policy would have found in memory while decoding.

    Belady's policy knows the future: no other can find more.

    \b
    Examples:
      hypuractl trace replay routes.csv --cache-mib 2000
      hypuractl trace replay routes.csv --cache-mib 700 --json
    """
    if not json_output:
        note(f"replaying {file} …")
    found = _answer([_REPLAYED_BELOW, str(file), "--cache-mib", repr(cache_mib)], _REPLAY_SECONDS)
    if json_output:
        print_json(found)
        return
    rates: dict[str, float] = found["policies"]
    chosen, lru, best = found["default"], rates["lru"], rates["belady"]
    print_table(
        ("POLICY", ">HITS", ">OF THE GAP"),
        (
            (
                f"{name} (default)" if name == chosen else name,
                f"{rate:.1f} %",
                f"{(rate - lru) / (best - lru):.0%}" if best > lru else "",
            )
            for name, rate in sorted(rates.items(), key=lambda entry: entry[1])
        ),
    )
    print_facts(
        (
            ("slots", f"{found['slots']} of {size_text(found['expert_bytes'])}"),
            ("a token's demand", f"fits {found['tokens_held']:.2f} times"),
            ("replayed", f"{found['decode_visits']} visits of layers while decoding"),
        )
    )


def _answer(command: list[str], seconds: float) -> dict[str, Any]:
    """The JSON object that a module of the worker prints. Raises InvalidRequest with its reason if it refuses."""
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", *command], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(f"it was not done after {seconds:g} s; use a shorter trace") from error
    try:
        found: dict[str, Any] = json.loads(ended.stdout)
    except ValueError as error:
        words = ended.stderr.strip().splitlines()
        raise UnexpectedReply(
            f"{command[0]} ended with code {ended.returncode}: {words[-1] if words else ''}"
        ) from error
    if "error" in found:
        raise InvalidRequest(str(found["error"]))
    return found
