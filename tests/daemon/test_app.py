"""The daemon as a process: it starts, reports its status, refuses a second one, drains, and leaves nothing behind."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hypura.v1 import control_pb2, control_pb2_grpc
from tests.hardware import measure_nothing

COMMAND = (sys.executable, "-m", "hypura_daemon")
START_SECONDS = 30


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hyp") as name:
        yield Path(name)


def environment(home: Path, *, measured: bool = True) -> dict[str, str]:
    """Of a daemon in this home, which knows the machine's figures unless it has to measure them."""
    if measured:
        measure_nothing(home)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HYPURA_")}
    return {**kept, "HYPURA_HOME": str(home), "HYPURA_HTTP": "127.0.0.1:0"}


def wait_until_ready(process: subprocess.Popen[bytes], channel: grpc.Channel) -> None:
    health, deadline = health_pb2_grpc.HealthStub(channel), time.monotonic() + START_SECONDS
    while True:
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=1.0)
        except grpc.RpcError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(process.communicate()[1].decode()) from None
        else:
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            return


@contextmanager
def daemon(home: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], grpc.Channel]]:
    with subprocess.Popen([*COMMAND, *flags], env=environment(home), stderr=subprocess.PIPE) as process:
        try:
            with grpc.insecure_channel(f"unix:{home}/run/control.sock") as channel:
                wait_until_ready(process, channel)
                yield process, channel
        finally:
            if process.poll() is None:
                process.kill()


def run(home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *flags], env=environment(home), capture_output=True, text=True, timeout=START_SECONDS, check=False
    )


def test_serves_and_ends_on_shutdown(home: Path) -> None:
    with daemon(home, "--memory", "3GB") as (process, channel):
        socket = home / "run/control.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        control = control_pb2_grpc.ControlServiceStub(channel)
        status = control.Status(control_pb2.StatusRequest())
        assert status.daemon.pid == process.pid
        assert status.daemon.home == str(home)
        assert status.daemon.memory_budget_bytes == 3 * 10**9
        assert status.daemon.rss_bytes > 0
        assert list(status.models) == []
        assert next(iter(control.Watch(control_pb2.WatchRequest()))).status.daemon.pid == process.pid
        control.Shutdown(control_pb2.ShutdownRequest())
        assert process.wait(START_SECONDS) == 0
    assert [path.name for path in (home / "run").iterdir()] == ["daemon.pid"]


def test_a_budget_beyond_the_machine_is_the_machines(home: Path) -> None:
    """A bug once: a status with 1000.15 GB of 100000.00 GB."""
    with daemon(home, "--memory", "100TB") as (_, channel):
        status = control_pb2_grpc.ControlServiceStub(channel).Status(control_pb2.StatusRequest())
        assert 0 < status.daemon.memory_budget_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_on_a_signal(home: Path, number: signal.Signals) -> None:
    with daemon(home) as (process, _):
        process.send_signal(number)
        assert process.wait(START_SECONDS) == 0


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(home: Path) -> None:
    with daemon(home) as (process, _):
        second = run(home)
        assert second.returncode == 3
        assert f"pid {process.pid}" in second.stderr
        with tempfile.TemporaryDirectory(prefix="hyp") as other:
            third = run(Path(other), "--socket", f"{home}/run/control.sock")
            assert third.returncode == 3
            assert "answers on" in third.stderr


def test_starts_again_after_kill_9(home: Path) -> None:
    with daemon(home) as (process, _):
        process.kill()
        process.wait()
    assert (home / "run/control.sock").exists()
    with daemon(home):
        pass


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--memory", "lots"), "--memory is 'lots': give a size such as 4GB"),
        (("--http", "here"), "--http is 'here': give HOST:PORT"),
        (("--socket", "/" + "s" * 200), "201 bytes long"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
def test_a_bad_flag_is_usage(home: Path, flags: tuple[str, ...], words: str) -> None:
    result = run(home, *flags)
    assert result.returncode == 2
    assert words in result.stderr


def test_what_is_unknown_or_wrong_is_refused(home: Path) -> None:
    with daemon(home) as (_, channel):
        control = control_pb2_grpc.ControlServiceStub(channel)
        calls = [
            (control.ShowModel, control_pb2.ShowModelRequest(name="none"), "NOT_FOUND"),
            (control.ShowModel, control_pb2.ShowModelRequest(name="../x"), "INVALID_ARGUMENT"),
            (control.Plan, control_pb2.PlanRequest(model="none"), "NOT_FOUND"),
            (control.Unload, control_pb2.UnloadRequest(model="none"), "NOT_FOUND"),
            (control.RemoveModel, control_pb2.RemoveModelRequest(name="none"), "NOT_FOUND"),
            (control.AddModel, control_pb2.AddModelRequest(path="relative.gguf"), "INVALID_ARGUMENT"),
            (control.Profile, control_pb2.ProfileRequest(model="/nowhere/at/all"), "INVALID_ARGUMENT"),
            (control.Shutdown, control_pb2.ShutdownRequest(grace_seconds=float("nan")), "INVALID_ARGUMENT"),
        ]
        for method, request, code in calls:
            with pytest.raises(grpc.RpcError) as caught:
                method(request)
            assert caught.value.code().name == code, request
        listed = control.ListModels(control_pb2.ListModelsRequest()).models
        assert [model.name for model in listed] == ["demo:latest"], "only what comes with hypura"


def test_help_and_version() -> None:
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "examples:" in shown.stdout
    assert "exit codes:" in shown.stdout
    assert subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()
