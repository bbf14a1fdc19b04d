"""The gateway's port: taken, free, or open to other machines."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from hypura.locations import HttpAddress
from hypura_daemon.errors import SettingsError
from hypura_daemon.gateway.endpoint import Core
from hypura_daemon.gateway.http.listening import address_of, is_loopback, listen
from hypura_daemon.gateway.opening import open_gateway
from hypura_daemon.settings import GatewaySettings, Settings, load_settings
from hypura_daemon.system.descriptors import Places

PLACES = Places(16, 4, 8)


def core(settings: Settings) -> Core:
    return Core(*(cast(Any, None),) * 3, settings, cast(Any, None))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": str(tmp_path), "http": "127.0.0.1:0"})


def test_a_taken_port_is_reported_with_its_owner_and_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} .* taken by .*pid {os.getpid()}.*HYPURA_HTTP"):
            listen(HttpAddress("127.0.0.1", port))


def test_a_free_port_is_chosen() -> None:
    with listen(HttpAddress("127.0.0.1", 0)) as listener:
        assert address_of(listener) == f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_host_that_is_none() -> None:
    with pytest.raises(SettingsError, match="cannot be found"):
        listen(HttpAddress("no-such-host.invalid", 0))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.4", False), ("box.lan", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_beyond_loopback_needs_a_key_or_an_explicit_word(settings: Settings) -> None:
    beyond = replace(settings, http=HttpAddress("0.0.0.0", 0))
    with pytest.raises(SettingsError, match="HYPURA_HTTP_API_KEY"):
        open_gateway(core(beyond), PLACES)
    with pytest.raises(SettingsError, match="HYPURA_HTTP_API_KEY"):
        open_gateway(core(replace(beyond, gateway=GatewaySettings(origins=("*",)))), PLACES)


def test_off_means_no_gateway(settings: Settings) -> None:
    assert open_gateway(core(replace(settings, http=None)), PLACES).address == ""


def test_the_keys_stay_out_of_sight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPURA_HTTP_API_KEY", "secret")
    monkeypatch.setenv("HYPURA_HTTP_ORIGINS", "https://a.example/, https://b.example")
    loaded = load_settings({"home": str(tmp_path)})
    assert loaded.gateway.api_key == "secret" and "secret" not in repr(loaded)
    assert loaded.gateway.origins == ("https://a.example/", "https://b.example")
