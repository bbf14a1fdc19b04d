"""The service files say what the daemon does."""

from __future__ import annotations

import configparser
import plistlib
from pathlib import Path

from hypura_daemon.settings import load_settings

FOLDER = Path(__file__).parents[1] / "launchd"


def test_the_agent_runs_at_login_and_after_a_failure(tmp_path: Path) -> None:
    agent = plistlib.loads((FOLDER / "org.hypura.hypurad.plist").read_bytes())
    assert agent["ProgramArguments"] == ["HYPURAD"]
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ProcessType"] == "Interactive"
    assert agent["ExitTimeOut"] > load_settings({"home": str(tmp_path)}).grace_seconds


def test_the_unit_restarts_after_a_failure_only(tmp_path: Path) -> None:
    unit = configparser.ConfigParser()
    unit.read(FOLDER / "hypurad.service")
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "3"
    assert float(service["TimeoutStopSec"]) > load_settings({"home": str(tmp_path)}).grace_seconds
