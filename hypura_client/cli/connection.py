"""A command's connection to the daemon, and which model its MODEL argument means."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypura.v1 import control_pb2 as control
from hypura_client.cli.output import note
from hypura_client.discovery import locate
from hypura_client.errors import InvalidRequest, ModelFileError
from hypura_client.launch import QUICK_SILENCE_SECONDS, SILENCE_SECONDS, start_daemon
from hypura_client.service.installed import current, service_starter
from hypura_client.sync import Client

_MOST_NAMED = 12


class Connection:
    """A connection to this environment's daemon, which is started if none runs, and again if it has ended."""

    def __init__(self, silence_seconds: float) -> None:
        self._location = locate(os.environ)
        self._silence_seconds = silence_seconds
        self.client = self._opened()
        self._pid = 0

    def renew(self) -> bool:
        """Connects again. Returns whether the daemon is another process than before. Raises the errors of errors.py."""
        self.client.close()
        self.client = self._opened()
        before, self._pid = self._pid, self.client.status().daemon.pid
        return self._pid != before

    def _opened(self) -> Client:
        start_daemon(
            self._location,
            os.environ,
            silence_seconds=self._silence_seconds,
            on_spawn=lambda: note("starting the hypura daemon …"),
            start_service=service_starter(current(), self._location, os.environ),
        )
        return Client(self._location.socket_path)


@contextmanager
def connection(*, quick: bool = False) -> Iterator[Connection]:
    """This environment's daemon. quick: the daemon needs no time for the command, so give up sooner."""
    found = Connection(QUICK_SILENCE_SECONDS if quick else SILENCE_SECONDS)
    try:
        yield found
    finally:
        found.client.close()


@contextmanager
def connected(*, quick: bool = False) -> Iterator[Client]:
    """A client of this environment's daemon; see connection."""
    with connection(quick=quick) as found:
        yield found.client


def is_path(model: str) -> bool:
    """Whether a MODEL argument means a file or folder, not a name.

    A folder counts only when written with a slash: a folder that has a model's name must not
    hide the model.
    """
    path = Path(model).expanduser()
    return path.suffix.lower() == ".gguf" or path.is_file() or (os.sep in model and path.exists())


def registered_name(client: Client, model: str) -> str:
    """The registered name for a MODEL argument; a file is registered first, and so is a folder's only model."""
    if not is_path(model):
        return model
    path = Path(model).expanduser().absolute()
    if path.is_dir():
        path = _only_model(path, client.add(path, list_only=True))
    return client.add(path).models[0].name


def passed_over_text(file: control.PassedOver) -> str:
    """A file that was not registered, and why; most reasons name the file already."""
    return file.reason if file.path in file.reason else f"{file.path}: {file.reason}"


def _only_model(folder: Path, found: control.AddModelResponse) -> Path:
    """The file of the folder's one model. Raises InvalidRequest, or ModelFileError where there is none."""
    if len(found.models) == 1:
        return Path(found.models[0].path)
    if not found.models:
        reasons = "; ".join(passed_over_text(file) for file in found.passed_over[:_MOST_NAMED])
        raise ModelFileError(f"{folder} holds no model that can be run{': ' + reasons if reasons else ''}")
    names = ", ".join(Path(model.path).name for model in found.models[:_MOST_NAMED])
    more = f" and {len(found.models) - _MOST_NAMED} more" if len(found.models) > _MOST_NAMED else ""
    raise InvalidRequest(
        f"{folder} holds {len(found.models)} models ({names}{more}); name the file you mean, "
        "or register all of them with `hypuractl add`"
    )
