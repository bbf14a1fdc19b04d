"""hypuractl service …: hypurad as a service of launchd or systemd."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from hypura.locations import DEFAULT_HTTP, parse_http, read_config
from hypura_client.cli.options import Json
from hypura_client.cli.output import print_facts, print_json, print_line
from hypura_client.discovery import Location, locate, location_errors
from hypura_client.errors import LocationError
from hypura_client.service.definition import Definition
from hypura_client.service.installed import current
from hypura_client.service.service_manager import ServiceManager

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def service() -> None:
    """Keep hypurad running: start it at login, and again after a failure.

    launchd does that on macOS, systemd's user manager on Linux. Settings stay in config.toml in hypura's home folder.

    \b
    Examples:
      hypuractl service install
      hypuractl service status
      hypuractl service logs --follow
    """


@app.command()
def install(json_output: Json = False) -> None:
    """Run hypurad now and at every login. Repeat it after an upgrade, or a change of `http` in config.toml."""
    changed = current().install(_definition(locate(os.environ)))
    _print_change(json_output, changed, "installed: hypurad runs now and at every login", "already installed")


@app.command()
def uninstall(json_output: Json = False) -> None:
    """Stop hypurad and remove the service; models and settings are kept."""
    _print_change(json_output, current().uninstall(), "uninstalled", "it was not installed")


@app.command()
def start(json_output: Json = False) -> None:
    """Start it."""
    current().start()
    _print_change(json_output, True, "started", "")


@app.command()
def stop(json_output: Json = False) -> None:
    """Stop it until it is started, or until the next login; running answers have the daemon's grace time."""
    current().stop()
    _print_change(json_output, True, "stopped", "")


@app.command()
def restart(json_output: Json = False) -> None:
    """Stop it and start it again."""
    current().restart()
    _print_change(json_output, True, "restarted", "")


@app.command()
def status(json_output: Json = False) -> None:
    """Show whether it is installed and running; `hypuractl status` shows what is loaded."""
    found = current().status()
    files = [str(path) for path in found.files]
    if json_output:
        print_json(
            {
                "installed": found.installed,
                "running": found.running,
                "pid": found.pid or None,
                "detail": found.detail,
                "files": files,
            }
        )
        return
    print_facts(
        (
            ("installed", "yes" if found.installed else "no; `hypuractl service install` does that"),
            ("running", f"yes, pid {found.pid}" if found.running else "no"),
            ("state", found.detail),
            ("files", "\n".join(files)),
        )
    )


@app.command()
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")] = False,
) -> None:
    """Show its log."""
    manager: ServiceManager = current()
    raise typer.Exit(subprocess.run(manager.log_command(lines, follow=follow)).returncode)


def _definition(location: Location) -> Definition:
    arguments = [sys.executable, "-P", "-m", "hypura_daemon", "--service"]
    if os.environ.get("HYPURA_HOME"):
        arguments += ["--home", str(location.home)]
    host, port = _http(location)
    return Definition(tuple(arguments), host, port, location.log_path.with_name("service.log"))


def _http(location: Location) -> tuple[str, int]:
    """Host and port of config.toml's `http`; port 0 when the gateway is off or takes any free port."""
    with location_errors():
        given = read_config(location.home).get("http", DEFAULT_HTTP)
    try:
        address = parse_http(str(given))
    except ValueError as error:
        raise LocationError(f"http in {location.home / 'config.toml'} is {given!r}; {error}") from error
    return (address.host, address.port) if address is not None else ("", 0)


def _print_change(json_output: bool, changed: bool, done: str, already: str) -> None:
    if json_output:
        print_json({"changed": changed})
    else:
        print_line(done if changed else already)
