"""Preloaded models: loaded while the daemon serves already, and kept; a failure does not end the daemon."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc
from hypura_daemon.settings import load_settings
from tests.daemon.test_app import daemon, home

__all__ = ["home"]  # a fixture
LOAD_SECONDS = 60


def test_demo_is_preloaded_and_kept_and_an_unknown_name_is_logged(home: Path) -> None:
    file = home / "log"
    flags = ("--preload", "no-such-model,demo", "--memory", "2GB", "--log-file", str(file))
    with daemon(home, *flags) as (_, channel):
        control = control_pb2_grpc.ControlServiceStub(channel)
        for changed in control.Watch(control_pb2.WatchRequest(), timeout=LOAD_SECONDS):
            models = {model.name: model for model in changed.status.models}
            if "demo:latest" in models and models["demo:latest"].state == control_pb2.MODEL_STATE_READY:
                break
        assert not models["demo:latest"].HasField("expires_at_seconds"), "it stays for ever"
        assert not models["demo:latest"].pinned
    assert "no-such-model" in file.read_text()


def test_a_daemon_ends_while_it_preloads(home: Path) -> None:
    with daemon(home, "--preload", "demo", "--memory", "2GB") as (process, channel):
        control_pb2_grpc.ControlServiceStub(channel).Shutdown(control_pb2.ShutdownRequest())
        assert process.wait(LOAD_SECONDS) == 0
        with pytest.raises(grpc.RpcError):
            control_pb2_grpc.ControlServiceStub(channel).Status(control_pb2.StatusRequest())


def test_names_come_from_a_variable_or_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('preload = ["a", "b:q4"]\n')
    assert load_settings({"home": str(tmp_path)}).preload == ("a", "b:q4")
    monkeypatch.setenv("HYPURA_PRELOAD", "c, d,")
    assert load_settings({"home": str(tmp_path)}).preload == ("c", "d")
