"""Where home, control socket and gateway are, as tables, and what client and daemon make of them."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from hypura.locations import (
    HttpAddress,
    UnusableLocation,
    control_socket_path,
    home_path,
    log_path,
    parse_http,
    pid_path,
    read_config,
)
from hypura_client.discovery import locate
from hypura_client.errors import LocationError
from hypura_daemon.errors import SettingsError
from hypura_daemon.settings import load_settings

LONG = "/" + "x" * 90


def path(environ: dict[str, str], configured: object = "") -> str:
    return str(control_socket_path(environ, 501, {"socket": configured}, temporary_folder=Path("/tmp")))


def test_explicit_then_configured_then_home_then_default(tmp_path: Path) -> None:
    everything = {"HYPURA_SOCKET": "/s/a.sock", "HYPURA_HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert path(everything, "/c.sock") == "/s/a.sock"
    del everything["HYPURA_SOCKET"]
    assert path(everything, "/c.sock") == "/c.sock"
    assert path(everything) == "/h/run/control.sock"
    del everything["HYPURA_HOME"]
    assert path(everything) == f"{tmp_path}/hypura/control.sock"
    assert path({}) == "/tmp/hypura-501/hypura/control.sock"
    assert control_socket_path(everything, 501, {}) == tmp_path / "hypura" / "control.sock"


def test_a_long_home_gets_a_short_socket_of_its_own() -> None:
    tag = hashlib.sha256(LONG.encode()).hexdigest()[:8]
    assert path({"HYPURA_HOME": LONG}) == f"/tmp/hypura-501/hypura-{tag}/control.sock"


def test_the_longest_home_that_keeps_its_socket() -> None:
    fits = "/" + "x" * (100 - len("//run/control.sock"))
    assert path({"HYPURA_HOME": fits}) == f"{fits}/run/control.sock"
    assert path({"HYPURA_HOME": fits + "x"}).startswith("/tmp/hypura-501/hypura-")
    assert path({"HYPURA_HOME": "/" + "é" * 60}).startswith("/tmp/hypura-501/hypura-")


@pytest.mark.parametrize("runtime", ["", "/does/not/exist", "relative"])
def test_a_runtime_folder_that_is_not_there_is_passed_over(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative one is not used even where it exists: the daemon took it before, and the client did not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    assert path({"XDG_RUNTIME_DIR": runtime}) == "/tmp/hypura-501/hypura/control.sock"


def test_empty_variables_are_not_set() -> None:
    assert path({"HYPURA_SOCKET": "", "HYPURA_HOME": ""}) == "/tmp/hypura-501/hypura/control.sock"


def test_relative_variables_start_from_the_working_folder_and_settings_from_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client and a daemon that it starts have different working folders: a setting must name one place."""
    monkeypatch.chdir(tmp_path)
    assert path({"HYPURA_SOCKET": "a.sock"}) == str(Path.cwd() / "a.sock")
    assert path({"HYPURA_HOME": "h"}) == str(Path.cwd() / "h" / "run" / "control.sock")
    assert path({"HYPURA_HOME": "/h"}, "a.sock") == "/h/a.sock"


def test_a_socket_path_that_no_system_takes_is_refused() -> None:
    assert len(path({"HYPURA_SOCKET": "/" + "x" * 102})) == 103
    for environ, configured in (({"HYPURA_SOCKET": "/" + "x" * 103}, ""), ({}, "/" + "x" * 103)):
        with pytest.raises(UnusableLocation, match=r"104 bytes long.*HYPURA_SOCKET"):
            path(environ, configured)


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(UnusableLocation, match="in full"):
        path({"HYPURA_HOME": "~nobody-of-this-name/h"})


def test_the_files_of_a_home() -> None:
    home = home_path({"HYPURA_HOME": "/h"})
    assert (pid_path(home), log_path(home)) == (Path("/h/run/daemon.pid"), Path("/h/logs/daemon.log"))
    default = home_path({})
    assert default.name == "hypura" and default.is_absolute()


def test_config_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    assert read_config(tmp_path) == {}
    config.write_text('socket = "/c.sock"\nmemory = "4GB"\n')
    assert read_config(tmp_path) == {"socket": "/c.sock", "memory": "4GB"}
    for broken, words in (("socket = \n", "is not valid TOML"), ("\udcff", "cannot be read")):
        config.write_bytes(broken.encode(errors="surrogateescape"))
        with pytest.raises(UnusableLocation, match=rf"config\.toml {words}"):
            read_config(tmp_path)
    wrong_values: tuple[object, ...] = (5, 0, False, [])
    for wrong in wrong_values:
        with pytest.raises(UnusableLocation, match=rf"socket in config\.toml is {re.escape(repr(wrong))}; it must be"):
            path({}, wrong)


def test_http_addresses() -> None:
    assert parse_http("[::1]:80") == HttpAddress("::1", 80)
    assert parse_http("0.0.0.0:0") == HttpAddress("0.0.0.0", 0)
    assert parse_http(" OFF ") is None
    for text in ("::1:80", ":80", "host", "host:", "host:8a", "host:70000", "a b:1"):
        with pytest.raises(ValueError, match="give "):
            parse_http(text)


@pytest.mark.parametrize("configured", ["", 'socket = ""\n', 'socket = "own.sock"\n'])
@pytest.mark.parametrize("explicit", [False, True])
def test_client_and_daemon_find_the_same_place(
    configured: str, explicit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("HYPURA_"):
            monkeypatch.delenv(name)
    (tmp_path / "config.toml").write_text(configured)
    monkeypatch.setenv("HYPURA_HOME", str(tmp_path))
    if explicit:
        monkeypatch.setenv("HYPURA_SOCKET", "~/a.sock")
    settings, location = load_settings({"service": "true"}), locate(os.environ)
    assert (settings.home, settings.socket, settings.log_file) == (
        location.home, location.socket_path, location.log_path,
    )  # fmt: skip
    assert settings.private_socket_folder is not (explicit or "own" in configured)


def test_client_and_daemon_refuse_with_errors_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("broken")
    monkeypatch.setenv("HYPURA_HOME", str(tmp_path))
    monkeypatch.delenv("HYPURA_SOCKET", raising=False)
    with pytest.raises(LocationError, match="is not valid TOML"):
        locate(os.environ)
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings({})


def test_an_explicit_socket_needs_no_config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("broken")
    located = locate({"HYPURA_HOME": str(tmp_path), "HYPURA_SOCKET": "/s.sock"})
    assert located.socket_path == Path("/s.sock")
