"""Settings: which source wins, what is refused and with which words, and where the socket lies."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura_daemon.errors import SettingsError
from hypura_daemon.settings import (
    MAX_SOCKET_PATH_BYTES,
    HttpAddress,
    control_socket_path,
    load_settings,
    parse_bytes,
    parse_http,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HYPURA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HYPURA_HOME", str(tmp_path))


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings({})
    assert settings.home == tmp_path
    assert settings.http == HttpAddress("127.0.0.1", 11434)
    assert settings.memory_budget_bytes is None
    assert (settings.context_tokens, settings.sequences, settings.log_level) == (4096, 4, "info")


def test_flags_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('memory = "1GB"\ncontext = 100\nsequences = 2\n')
    monkeypatch.setenv("HYPURA_MEMORY", "2GB")
    monkeypatch.setenv("HYPURA_CONTEXT", "200")
    settings = load_settings({"memory": "3GB"})
    assert (settings.memory_budget_bytes, settings.context_tokens, settings.sequences) == (3 * 10**9, 200, 2)


def test_home_flag_moves_the_file_that_is_read(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.toml").write_text("context = 77\n")
    settings = load_settings({"home": str(other)})
    assert settings.home == other
    assert settings.context_tokens == 77


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memroy = 1", ['"memroy"', "no setting", "memory"]),
        ("memory = '4XB'", ['"memory"', "'4XB'", "4GB"]),
        ("memory = 0", ['"memory"', "0", "greater than or equal to 1"]),
        ("context = 'x'", ['"context"', "'x'", "integer"]),
        ("http = 'nowhere'", ['"http"', "'nowhere'", "HOST:PORT"]),
        ("http = '127.0.0.1:99999'", ['"http"', "65535"]),
        ("log_level = 'loud'", ['"log_level"', "'loud'", "'debug'"]),
        ("grace_seconds = nan", ['"grace_seconds"', "nan", "finite"]),
        ("context = ", ["config.toml", "no valid TOML"]),
    ],
)
def test_bad_file_names_key_value_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    for word in words:
        assert word in str(caught.value)


def test_bad_environment_and_flag_are_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"--memory is 'much': give a size"):
        load_settings({"memory": "much"})
    monkeypatch.setenv("HYPURA_SEQUENCES", "999")
    with pytest.raises(SettingsError, match=r"HYPURA_SEQUENCES is '999': .*256"):
        load_settings({})


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({})


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GB", 4 * 10**9),
        ("512 mb", 512 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("2000000000", 2 * 10**9),
        ("1kib", 1024),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@given(st.text(max_size=30))
def test_any_text_is_a_size_in_range_or_a_value_error(text: str) -> None:
    try:
        assert 1 <= parse_bytes(text) <= 1 << 50
    except ValueError:
        pass


@pytest.mark.parametrize("text", ["", "0", "-1GB", "1e9", "4 G B", "9999TB", "0.0000001KB", "nan", "١GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="give a size"):
        parse_bytes(text)


def test_http_addresses() -> None:
    assert parse_http("[::1]:80") == HttpAddress("::1", 80)
    assert parse_http("0.0.0.0:0") == HttpAddress("0.0.0.0", 0)
    for text in ("::1:80", ":80", "host", "host:", "host:8a", "host:70000", "a b:1"):
        with pytest.raises(ValueError, match="give "):
            parse_http(text)


def test_socket_lies_below_a_short_home(tmp_path: Path) -> None:
    environ = {"HYPURA_HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert control_socket_path(environ, 7) == Path("/h/run/control.sock")


def test_socket_of_a_deep_home_lies_in_the_runtime_folder(tmp_path: Path) -> None:
    deep = "/" + "d" * MAX_SOCKET_PATH_BYTES
    environ = {"HYPURA_HOME": deep, "XDG_RUNTIME_DIR": str(tmp_path)}
    first = control_socket_path(environ, 7)
    assert first.parent.parent == tmp_path
    assert first.parent.name.startswith("hypura-")
    assert control_socket_path({**environ, "HYPURA_HOME": deep + "e"}, 7) != first


def test_socket_without_a_home(tmp_path: Path) -> None:
    assert control_socket_path({"XDG_RUNTIME_DIR": str(tmp_path)}, 7) == tmp_path / "hypura/control.sock"
    gone = control_socket_path({"XDG_RUNTIME_DIR": str(tmp_path / "gone")}, 7)
    assert gone.parts[-3:] == ("hypura-7", "hypura", "control.sock")
    assert control_socket_path({"HYPURA_SOCKET": "/s"}, 7) == Path("/s")


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(SettingsError, match="longer than 100 bytes"):
        load_settings({"socket": "/" + "s" * 200})
