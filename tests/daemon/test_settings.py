"""Settings: which source wins, what is refused, and the messages of refusals."""

import os
from pathlib import Path

import pytest

from hypura.locations import HttpAddress
from hypura_daemon.errors import SettingsError
from hypura_daemon.settings import load_settings


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


def test_a_socket_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPURA_SOCKET", "/a")
    assert load_settings({"socket": "/b"}).socket == Path("/b")


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
        ("memroy = 1", ['"memroy"', "not a setting", "memory"]),
        ("memory = '4XB'", ['"memory"', "'4XB'", "4GB"]),
        ("memory = 0", ['"memory"', "0", "greater than or equal to 1"]),
        ("context = 'x'", ['"context"', "'x'", "integer"]),
        ("http = 'nowhere'", ['"http"', "'nowhere'", "HOST:PORT"]),
        ("http = '127.0.0.1:99999'", ['"http"', "65535"]),
        ("log_level = 'loud'", ['"log_level"', "'loud'", "'debug'"]),
        ("grace_seconds = nan", ['"grace_seconds"', "nan", "finite"]),
        ("context = ", ["config.toml", "is not valid TOML"]),
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


def test_memory_has_a_range() -> None:
    with pytest.raises(SettingsError, match=r"--memory is '9999TB': give a size from 1 B to 1 PiB"):
        load_settings({"memory": "9999TB"})


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"201 bytes long.*at most 103"):
        load_settings({"socket": "/" + "s" * 200})
