"""hypuractl trace: records which experts a model uses, and replays that with each replacement policy."""

import contextlib
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hypura.json_lines import from_line
from hypura.sizes import size_text
from hypura.v1 import placement_pb2 as placement
from hypura.v1 import tools_pb2
from hypura_client.bench.passage import PASSAGE
from hypura_client.cli.connection import connected, registered_name
from hypura_client.cli.options import Context, Exact, Json, Memory, Model, WeightCacheLimit, load_options
from hypura_client.cli.output import as_dict, note, print_facts, print_json, print_line, print_table, stderr_console
from hypura_client.errors import DeadlineExceeded, InvalidRequest, UnexpectedReply

_REPLAY_SECONDS = 3600.0
_END_SECONDS = 60.0
_REPLAY_MODULE = "hypura_worker.tools.replay"

app = typer.Typer(help="Record which experts a model routes to, and replay it against cache policies.")


@app.command("replay")
def replay(
    file: Annotated[Path, typer.Argument(help="A recorded trace.")],
    cache_mib: Annotated[
        float, typer.Option("--cache-mib", metavar="MIB", min=0.001, max=2**30, help="Memory for experts, in MiB.")
    ],
    json_output: Json = False,
) -> None:
    """Show which share of a trace's experts each policy would have found in memory while decoding.

    Belady's policy knows the future: no other can find more.

    \b
    Examples:
      hypuractl trace replay routes.csv --cache-mib 2000
      hypuractl trace replay routes.csv --cache-mib 700 --json
    """
    if not json_output:
        note(f"replaying {file} …")
    found = _replayed(file, cache_mib)
    if json_output:
        print_json(as_dict(found))
        return
    rates = found.policies
    chosen, lru, best = found.default, rates["lru"], rates["belady"]
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
            ("slots", f"{found.slots} of {size_text(found.expert_bytes)}"),
            ("a token's experts", f"fit {found.tokens_held:.2f} times"),
            ("replayed", f"{found.decode_visits} visits of layers while decoding"),
        )
    )


@app.command("record")
def record(
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The trace to write.")],
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=1, max=1_000_000, help="Tokens to decode.")] = 256,
    memory: Memory = None,
    context: Context = None,
    weight_cache: WeightCacheLimit = None,
    exact: Exact = False,
    json_output: Json = False,
) -> None:
    """Record which experts a mixture of experts routes to, token by token, in a process of its own.

    The model reads a page of English and continues it, at temperature 1 with a fixed seed.

    \b
    Examples:
      hypuractl trace record qwen3 --tokens 500 --out routes.csv
      hypuractl trace record model.gguf --memory 4GB --out routes.csv
    """
    with connected() as client:
        name = registered_name(client, model)
        plan = client.plan(name, load_options(memory, context, weight_cache, exact), beyond_budget=True).plan
    if tokens >= plan.context_tokens:
        raise InvalidRequest(
            f"{tokens} tokens do not fit the context of {plan.context_tokens}; request fewer, or raise --context"
        )
    done = _recorded(plan, out.expanduser().absolute(), tokens)
    if json_output:
        print_json({"model": name, "path": str(out), **as_dict(done)})
    else:
        print_line(f"{out}: {done.tokens} tokens of {name}, {done.choices} choices of experts")


def _recorded(plan: placement.Plan, out: Path, tokens: int) -> tools_pb2.RecordDone:
    """Runs the recorder, shows its progress, and returns what it reports at its end."""
    command = [sys.executable, "-P", "-m", "hypura_worker.tools.record", "--tokens", str(tokens), "--out", str(out)]
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr) as process,
        stderr_console().status("loading the model …") as waiting,
    ):
        try:
            if process.stdin is None or process.stdout is None:
                raise UnexpectedReply("the recorder was started without pipes")
            with contextlib.suppress(BrokenPipeError):  # Its exit code is reported below.
                for part in (plan.SerializeToString(), PASSAGE.encode()):
                    process.stdin.write(struct.pack("<I", len(part)) + part)
                process.stdin.close()
            for line in process.stdout:
                found = from_line(tools_pb2.RecordLine, line)
                match found.WhichOneof("event"):
                    case "error":
                        raise InvalidRequest(found.error)
                    case "done":
                        return found.done
                waiting.update(f"recorded {found.tokens} of {tokens} tokens")
            code = process.wait(_END_SECONDS)
        finally:
            process.terminate()
        stderr.seek(0)
        last = stderr.read().decode(errors="replace").strip().splitlines()
    raise UnexpectedReply(f"the recorder ended with code {code}: {last[-1] if last else 'no message'}")


def _replayed(file: Path, cache_mib: float) -> tools_pb2.ReplayReport:
    """Runs the replay and returns its report. Raises InvalidRequest if it refuses."""
    command = [sys.executable, "-P", "-m", _REPLAY_MODULE, str(file), "--cache-mib", repr(cache_mib)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_REPLAY_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(f"the replay did not end within {_REPLAY_SECONDS:g} s; use a shorter trace") from error
    try:
        found = from_line(tools_pb2.ReplayLine, ended.stdout)
    except ValueError as error:
        lines = ended.stderr.strip().splitlines()
        raise UnexpectedReply(
            f"{_REPLAY_MODULE} ended with code {ended.returncode}: {lines[-1] if lines else 'no message'}"
        ) from error
    if found.HasField("error"):
        raise InvalidRequest(found.error)
    return found.report
