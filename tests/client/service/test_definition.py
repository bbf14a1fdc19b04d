"""The service files say what the daemon does, and survive paths that need quoting."""

from __future__ import annotations

import configparser
import plistlib
import shlex
from pathlib import Path

import pytest

from hypura_client.service.definition import LABEL, Definition, plist, units
from hypura_daemon.settings import load_settings

ARGUMENTS = ("/opt/my hypura/bin/python", "-P", "-m", "hypura_daemon", "--home", "/data/100% $HOME")


def defined(**more: object) -> Definition:
    values = {"arguments": ARGUMENTS, "host": "127.0.0.1", "port": 11434, "log_path": Path("/l/service.log")} | more
    return Definition(**values)  # type: ignore[arg-type]


def parsed(text: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return unit


def test_the_agent_keeps_what_launchd_wants() -> None:
    agent = plistlib.loads(plist(defined()))
    assert agent["Label"] == LABEL and agent["ProgramArguments"] == list(ARGUMENTS)
    assert agent["RunAtLoad"] is True and agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ProcessType"] == "Interactive"
    assert agent["ThrottleInterval"] >= 10
    assert agent["SoftResourceLimits"]["NumberOfFiles"] >= 4096
    assert agent["Sockets"] == {"http": {"SockNodeName": "127.0.0.1", "SockServiceName": "11434", "SockType": "stream"}}
    assert agent["StandardErrorPath"] == "/l/service.log"
    assert "EnvironmentVariables" not in agent, "settings belong into config.toml"


def test_both_managers_outwait_the_grace_of_running_answers(tmp_path: Path) -> None:
    grace_seconds = load_settings({"home": str(tmp_path)}).grace_seconds
    assert plistlib.loads(plist(defined()))["ExitTimeOut"] > grace_seconds
    assert float(parsed(units(defined())["hypurad.service"])["Service"]["TimeoutStopSec"]) > grace_seconds


def test_the_unit_restarts_after_a_failure_only() -> None:
    service = parsed(units(defined())["hypurad.service"])["Service"]
    assert service["Type"] == "notify" and float(service["WatchdogSec"]) > 0
    assert service["Restart"] == "on-failure" and service["RestartPreventExitStatus"] == "3"


def test_arguments_reach_systemd_as_they_are() -> None:
    line = parsed(units(defined())["hypurad.service"])["Service"]["ExecStart"]
    assert tuple(shlex.split(line.replace("%%", "%").replace("$$", "$"))) == ARGUMENTS


@pytest.mark.parametrize(("host", "listen"), [("127.0.0.1", "127.0.0.1:11434"), ("::1", "[::1]:11434")])
def test_the_socket_listens_where_the_gateway_would(host: str, listen: str) -> None:
    unit = parsed(units(defined(host=host))["hypurad.socket"])
    assert unit["Socket"]["ListenStream"] == listen and unit["Socket"]["FileDescriptorName"] == "http"


def test_without_a_gateway_there_is_no_socket() -> None:
    assert "Sockets" not in plistlib.loads(plist(defined(port=0)))
    made = units(defined(port=0))
    assert set(made) == {"hypurad.service"} and "hypurad.socket" not in made["hypurad.service"]
