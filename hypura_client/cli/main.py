"""hypuractl's entry point: the table of commands, and how errors become messages and exit codes."""

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import typer

from hypura_client.cli import bench, daemon, models, planning, run, system_service, trace, tune
from hypura_client.cli.output import note, print_json, safe
from hypura_client.cli.stdio import (
    EXIT_BROKEN_PIPE,
    EXIT_OUTPUT_FAILED,
    OutputClosed,
    OutputFailed,
    give_up_output,
    set_up,
)
from hypura_client.errors import Cancelled, CannotConnect, DeadlineExceeded, HypuraError, LocationError

EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

# typer does not export the base of its usage errors, and has moved it between versions.
_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__base__)

app = typer.Typer(
    name="hypuractl",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)


@app.callback(
    epilog=(
        "Exit codes: 0 done, 1 the daemon refused, 2 wrong usage, 3 no daemon can be reached, "
        "74 stdout cannot be written, 130 interrupted, 141 the reader of stdout closed it. "
        "With --json an error is one object on stdout too: "
        '{"error": {"type", "message"}}.'
    )
)
def hypuractl() -> None:
    """Run language models larger than memory.

    A daemon is started when none runs, unless HYPURA_NO_START=1. HYPURA_SOCKET and HYPURA_HOME
    select the daemon.

    \b
    Examples:
      hypuractl run model.gguf "hello" --memory 4GB
      hypuractl status
    """


app.command("run")(run.run)
app.command("plan")(planning.plan)
app.command("load")(planning.load)
app.command("unload")(planning.unload)
app.command("status")(daemon.status)
app.command("models")(models.list_models)
app.command("add")(models.add)
app.command("rm")(models.remove)
app.command("cp")(models.copy)
app.command("create")(models.create)
app.command("pull")(models.pull)
app.command("show")(models.show)
app.command("profile")(planning.profile)
app.command("bench")(bench.bench)
app.command("iobench")(bench.iobench)
app.command("tune")(tune.tune)
app.add_typer(trace.app, name="trace")
app.command("stop")(daemon.stop)
app.add_typer(system_service.app, name="service")
app.command("version")(daemon.version)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs hypuractl and exits with its code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    set_up()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except OutputClosed:
        # The reader closed the pipe (hypuractl … | head), which is not a failure to report.
        give_up_output()
        code = EXIT_BROKEN_PIPE
    except OutputFailed as error:
        give_up_output()
        note(f"error: {error}")
        code = EXIT_OUTPUT_FAILED
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    wants_json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    try:
        code = typer.main.get_command(app).main(args=list(arguments), prog_name="hypuractl", standalone_mode=False)
    except HypuraError as error:
        return _report(error, type(error).__name__, str(error), _exit_code(error), wants_json)
    except _USAGE_ERROR as error:
        return _report(error, "UsageError", _usage(error), EXIT_USAGE, wants_json)
    except UnicodeEncodeError as error:
        # The daemon's messages are in UTF-8; the system's file names and arguments need not be.
        given = safe(error.object.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        message = f"{given[:200]!r} is not in UTF-8, as names and paths must be; rename the file or correct it"
        return _report(error, "UsageError", message, EXIT_USAGE, wants_json)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except (OutputClosed, OutputFailed):
        raise
    except OSError as error:
        # A path that is too long or may not be read, or a working folder that was removed.
        where = f"{safe(os.fsdecode(error.filename))[:200]}: " if error.filename is not None else ""
        return _report(error, type(error).__name__, f"{where}{error.strerror or error}", EXIT_REFUSED, wants_json)
    except Exception as error:
        if wants_json:
            print_json({"error": {"type": type(error).__name__, "message": str(error)}})
        raise
    if code == EXIT_INTERRUPTED:
        return _report(None, "Interrupted", "interrupted", EXIT_INTERRUPTED, wants_json)
    return code if isinstance(code, int) else EXIT_OK


def _exit_code(error: HypuraError) -> int:
    if isinstance(error, CannotConnect | DeadlineExceeded | LocationError):
        return EXIT_UNREACHABLE
    return EXIT_INTERRUPTED if isinstance(error, Cancelled) else EXIT_REFUSED


def _report(error: Exception | None, kind: str, message: str, code: int, wants_json: bool) -> int:
    if wants_json:
        print_json({"error": {"type": kind, "message": message}})
    elif error is not None:
        note(f"error: {message}")
    return code


def _usage(error: Exception) -> str:
    described = cast(Any, error)
    context = described.ctx
    help_hint = f"; see `{context.command_path} --help`" if context is not None else ""
    return f"{described.format_message().rstrip('.')}{help_hint}"


if __name__ == "__main__":
    main()
