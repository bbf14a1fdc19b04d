"""hypuractl service …: hypurad kept running by the system."""

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
from hypura_client.service.manager import ServiceManager

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def service() -> None:
    """Keep hypurad running: from login on, and again after a failure.

    By launchd on macOS, by systemd's user manager on Linux. Settings stay in config.toml in hypura's home folder.

    \b
    Examples:
      hypuractl service install
      hypuractl service status
      hypuractl service logs --follow
    """


@app.command()
def install(json_output: Json = False) -> None:
    """Have hypurad run now and at every login; again after a changed `http` in config.toml, or an upgrade."""
    changed = current().install(_definition(locate(os.environ)))
    _tell(json_output, changed, "installed: hypurad runs now, and from every login on", "installed already")


@app.command()
def uninstall(json_output: Json = False) -> None:
    """End hypurad and take it out of the system; models and settings stay."""
    _tell(json_output, current().uninstall(), "uninstalled", "it was not installed")


@app.command()
def start(json_output: Json = False) -> None:
    """Run it now."""
    current().start()
    _tell(json_output, True, "started", "")


@app.command()
def stop(json_output: Json = False) -> None:
    """End it until it is started, or until the next login; running answers get the daemon's grace time."""
    current().stop()
    _tell(json_output, True, "stopped", "")


@app.command()
def restart(json_output: Json = False) -> None:
    """End it and run it again."""
    current().restart()
    _tell(json_output, True, "restarted", "")


@app.command()
def status(json_output: Json = False) -> None:
    """Say whether it is installed and running; for what is loaded: hypuractl status."""
    told = current().status()
    files = [str(path) for path in told.files]
    if json_output:
        print_json(
            {
                "installed": told.installed,
                "running": told.running,
                "pid": told.pid or None,
                "detail": told.detail,
                "files": files,
            }
        )
        return
    print_facts(
        (
            ("installed", "yes" if told.installed else "no; `hypuractl service install` does that"),
            ("running", f"yes, pid {told.pid}" if told.running else "no"),
            ("state", told.detail),
            ("files", "\n".join(files)),
        )
    )


@app.command()
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show what it logged."""
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


def _tell(json_output: bool, changed: bool, done: str, already: str) -> None:
    if json_output:
        print_json({"changed": changed})
    else:
        print_line(done if changed else already)
