"""A running fake daemon, and hypuractl as a process."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name; pytest's own are too long on macOS."""
    folder = Path(tempfile.mkdtemp(prefix="hyp-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def daemon_socket(short_folder: Path) -> Iterator[Path]:
    # The blank and the percent sign: gRPC's addresses are URIs, paths are not.
    socket_path = short_folder / "so ck%41" / "control.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client.fake_daemon"],
        cwd=REPOSITORY,
        env={**os.environ, "HYPURA_SOCKET": str(socket_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield socket_path
    process.terminate()
    process.wait(TIMEOUT_SECONDS)
    process.stdout.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        assert self.stdout.count("\n") == 1, self
        return json.loads(self.stdout)


class Hypuractl:
    """hypuractl with a fixed environment."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self.environ = environ
        self.folder = folder

    @property
    def command(self) -> str:
        """hypuractl as a shell's words."""
        return f"{shlex.quote(sys.executable)} -m hypura_client.cli.main"

    def start(
        self, *arguments: str | bytes, stdin: str | bytes | int = subprocess.PIPE, stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """A command under way; stdin is what it reads there, a descriptor, or open until it is closed."""
        given: IO[bytes] | None = None
        if isinstance(stdin, str | bytes):
            given = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            given.write(stdin.encode() if isinstance(stdin, str) else stdin)
            given.seek(0)
            stdin = given.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "hypura_client.cli.main", *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        if given is not None:
            given.close()
        return process

    def __call__(self, *arguments: str | bytes, stdin: str | bytes = "", stdout: int = subprocess.PIPE) -> Outcome:
        with self.start(*arguments, stdin=stdin, stdout=stdout) as process:
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        return Outcome(process.returncode, out or "", err)


def clean_environ(**more: str) -> dict[str, str]:
    """This process's environment without the variables that select a daemon."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYPURA_", "XDG_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1", **more}


@pytest.fixture
def hypuractl(daemon_socket: Path, tmp_path: Path) -> Hypuractl:
    """hypuractl for the running fake daemon; it may start no other."""
    environ = clean_environ(HYPURA_SOCKET=str(daemon_socket), HYPURA_HOME=str(tmp_path / "home"), HYPURA_NO_START="1")
    return Hypuractl(environ, tmp_path)
