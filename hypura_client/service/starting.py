"""Whether the installed service is the daemon that a client wants; then that is started, and none beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypura_client.discovery import Location
from hypura_client.service.interface import ServiceManager


def service_starter(
    manager: ServiceManager, location: Location, environ: Mapping[str, str]
) -> Callable[[], None] | None:
    """What starts the service that serves this location; None where none is installed, or it serves another home."""
    arguments = manager.installed_arguments()
    return manager.start if arguments and _serves(arguments, location, environ) else None


def _serves(arguments: Sequence[str], location: Location, environ: Mapping[str, str]) -> bool:
    """The service has a home of its own or the platform's, and no socket but that home's. Pure."""
    if environ.get("HYPURA_SOCKET"):
        return False
    if "--home" in arguments[:-1]:
        return Path(arguments[arguments.index("--home") + 1]) == location.home
    return not environ.get("HYPURA_HOME")
