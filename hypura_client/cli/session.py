"""A command's connection to the daemon, and what its MODEL argument means there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypura_client.cli.output import note
from hypura_client.discovery import locate
from hypura_client.errors import InvalidRequest
from hypura_client.launch import start_daemon
from hypura_client.service.manager import current
from hypura_client.service.starting import service_starter
from hypura_client.sync import Client


@contextmanager
def connected() -> Iterator[Client]:
    """A client of this environment's daemon, which is started where none runs."""
    location = locate(os.environ)
    start_daemon(
        location,
        os.environ,
        on_spawn=lambda: note("starting the hypura daemon …"),
        start_service=service_starter(current(), location, os.environ),
    )
    with Client(location.socket_path) as client:
        yield client


def is_path(model: str) -> bool:
    """Whether a MODEL argument means a file or folder, not a name.

    A folder counts only when written with a slash: one that happens to be called as a model
    is must not hide it.
    """
    path = Path(model).expanduser()
    return path.suffix.lower() == ".gguf" or path.is_file() or (os.sep in model and path.exists())


def registered(client: Client, model: str) -> str:
    """The registered name for a MODEL argument; a path is registered first."""
    if not is_path(model):
        return model
    path = Path(model).expanduser().absolute()
    models = client.add(path).models
    if len(models) != 1:
        names = ", ".join(entry.name for entry in models) or "none"
        raise InvalidRequest(f"{path} holds {len(models)} models ({names}); name the one you mean")
    return models[0].name
