"""Where the daemon of an environment is: its home, its control socket and its log, by the rules of hypura.locations."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypura import locations
from hypura_client.errors import LocationError


@dataclass(frozen=True, slots=True)
class Location:
    """One daemon's place: its home folder and its control socket."""

    home: Path
    socket_path: Path

    @property
    def log_path(self) -> Path:
        return locations.log_path(self.home)


def locate(environ: Mapping[str, str]) -> Location:
    """Where the daemon of this environment is. Raises LocationError where a variable or setting is unusable."""
    with location_errors():
        home = locations.home_path(environ)
        config = {} if environ.get("HYPURA_SOCKET") else locations.read_config(home)
        return Location(home, locations.control_socket_path(environ, os.getuid(), config))


@contextmanager
def location_errors() -> Iterator[None]:
    """Raises the client's own error for what hypura.locations refuses."""
    try:
        yield
    except locations.UnusableLocation as error:
        raise LocationError(str(error)) from error
