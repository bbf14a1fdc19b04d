"""Where the control socket is, as a table."""

import hashlib
import os
from pathlib import Path

import pytest

from hypura_client.discovery import configured_socket, control_socket_path, locate
from hypura_client.errors import LocationError
from hypura_daemon.settings import control_socket_path as daemon_socket_path

LONG = "/" + "x" * 90


def path(environ: dict[str, str], configured: str = "") -> str:
    return str(control_socket_path(environ, 501, configured=configured, temporary=Path("/tmp")))


def test_explicit_then_configured_then_home_then_default(tmp_path: Path) -> None:
    everything = {"HYPURA_SOCKET": "/s/a.sock", "HYPURA_HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert path(everything, "/c.sock") == "/s/a.sock"
    del everything["HYPURA_SOCKET"]
    assert path(everything, "/c.sock") == "/c.sock"
    assert path(everything) == "/h/run/control.sock"
    del everything["HYPURA_HOME"]
    assert path(everything) == f"{tmp_path}/hypura/control.sock"
    assert path({}) == "/tmp/hypura-501/hypura/control.sock"


def test_a_long_home_gets_a_short_socket_of_its_own() -> None:
    tag = hashlib.sha256(LONG.encode()).hexdigest()[:8]
    assert path({"HYPURA_HOME": LONG}) == f"/tmp/hypura-501/hypura-{tag}/control.sock"


def test_the_longest_home_that_keeps_its_socket() -> None:
    fits = "/" + "x" * (100 - len("//run/control.sock"))
    assert path({"HYPURA_HOME": fits}) == f"{fits}/run/control.sock"
    assert path({"HYPURA_HOME": fits + "x"}).startswith("/tmp/hypura-501/hypura-")


@pytest.mark.parametrize("runtime", ["", "/does/not/exist", "relative"])
def test_a_runtime_folder_that_is_not_there_is_passed_over(runtime: str) -> None:
    assert path({"XDG_RUNTIME_DIR": runtime}) == "/tmp/hypura-501/hypura/control.sock"


def test_empty_variables_are_not_set() -> None:
    assert path({"HYPURA_SOCKET": "", "HYPURA_HOME": ""}) == "/tmp/hypura-501/hypura/control.sock"


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path({"HYPURA_SOCKET": "a.sock"}) == str(Path.cwd() / "a.sock")


def test_a_socket_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(LocationError, match=r"HYPURA_SOCKET"):
        path({"HYPURA_SOCKET": LONG + "/" + "y" * 20})


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(LocationError, match="in full"):
        path({"HYPURA_HOME": "~nobody-of-this-name/h"})


def test_config_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    assert configured_socket(tmp_path) == ""
    config.write_text('socket = "/c.sock"\nmemory = "4GB"\n')
    assert configured_socket(tmp_path) == "/c.sock"
    assert locate({"HYPURA_HOME": str(tmp_path)}).socket_path == Path("/c.sock")
    for broken in ("socket = 5\n", "socket = \n", "\udcff"):
        config.write_bytes(broken.encode(errors="surrogateescape"))
        with pytest.raises(LocationError, match=r"config\.toml"):
            configured_socket(tmp_path)


def test_an_explicit_socket_needs_no_config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("broken")
    located = locate({"HYPURA_HOME": str(tmp_path), "HYPURA_SOCKET": "/s.sock"})
    assert located.socket_path == Path("/s.sock")
    assert located.log_path == tmp_path / "logs" / "daemon.log"


def test_default_home_is_the_platforms() -> None:
    located = locate({"HYPURA_SOCKET": "/s.sock"})
    assert located.home.name == "hypura"
    assert os.fspath(located.home).startswith("/")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HYPURA_HOME": "/h"},
        {"HYPURA_HOME": "/" + "x" * 81},
        {"HYPURA_HOME": "/" + "x" * 82},
        {"HYPURA_HOME": "/" + "é" * 60},
        {"HYPURA_HOME": "relative", "XDG_RUNTIME_DIR": "/does/not/exist"},
        {"HYPURA_SOCKET": "~/a.sock", "HYPURA_HOME": "/h"},
    ],
)
def test_the_daemon_follows_the_same_rule(environ: dict[str, str]) -> None:
    assert control_socket_path(environ, 501) == daemon_socket_path(environ, 501)
