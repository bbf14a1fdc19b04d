"""The log: where its lines go, that no disk or pipe can stop the daemon, one id per request, and no content."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from hypura.v1 import control_pb2, control_pb2_grpc, inference_pb2, inference_pb2_grpc
from hypura_daemon.system.request_log import begin
from tests.daemon.test_app import COMMAND, START_SECONDS, daemon, environment, home, wait_until_ready

__all__ = ["home"]  # a fixture
WAIT_SECONDS = 60
LOGGING = """
import os, sys
from pathlib import Path
import structlog
from hypura_daemon.system import logs
logs.FILE_BYTES, logs.OLD_FILES = 2000, 2
log = logs.configure_logs("info", Path(sys.argv[1]) if sys.argv[1] else None)
for number in range(int(sys.argv[2])):
    structlog.get_logger().info("line", number=number, filling="x" * 100)
closed = log.close()
print(closed, flush=True)
if not closed:
    os._exit(0)  # as hypurad does
"""


def logging_to(file: Path | str, lines: int, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LOGGING, str(file), str(lines)],
        stdout=subprocess.PIPE, text=True, timeout=WAIT_SECONDS, check=True, **{"stderr": subprocess.PIPE, **more},
    )  # fmt: skip


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_without_a_terminal_lines_are_json_on_standard_error() -> None:
    lines = lines_of(logging_to("", 3).stderr)
    assert [line["number"] for line in lines] == [0, 1, 2]
    assert lines[0]["level"] == "info" and lines[0]["event"] == "line" and lines[0]["timestamp"].endswith("Z")


def test_a_file_takes_the_lines_and_stays_within_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "daemon.log"
    ended = logging_to(file, 200)
    assert ended.stdout == "True\n" and ended.stderr == ""
    assert sorted(path.name for path in file.parent.iterdir()) == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert all(path.stat().st_size <= 2000 and path.stat().st_mode & 0o077 == 0 for path in file.parent.iterdir())
    assert lines_of(file.read_text())[-1]["number"] == 199


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is the disk without room, and Linux's")
def test_a_full_disk_is_reported_once_and_its_lines_are_kept() -> None:
    lines = lines_of(logging_to("/dev/full", 3).stderr)
    assert "No space left" in lines[0]["event"] and lines[0]["level"] == "warning"
    assert [line["number"] for line in lines[1:]] == [0, 1, 2]


def test_a_file_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines = lines_of(logging_to(tmp_path / "file" / "daemon.log", 2).stderr)
    assert "cannot be written" in lines[0]["event"] and len(lines) == 3


def test_without_a_reader_the_log_is_dropped() -> None:
    assert logging_to("/dev/full", 3, stderr=os.open("/dev/full", os.O_WRONLY)).stdout == "True\n"


def test_a_pipe_without_a_reader_holds_nothing_up() -> None:
    """A bug once: a daemon whose log is piped to a stopped program hung in a write of its event loop."""
    reader, writer = os.pipe()
    try:
        assert logging_to("", 20_000, stderr=writer).stdout == "False\n", "more than a pipe and the queue hold"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_daemon_whose_log_hangs_serves_and_ends(home: Path) -> None:
    """A fifo without a reader: opening it waits for ever, as a dead network drive would."""
    os.mkfifo(home / "log")
    with daemon(home, "--log-file", str(home / "log")) as (process, channel):
        assert control_pb2_grpc.ControlServiceStub(channel).Status(control_pb2.StatusRequest()).daemon.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0


def test_a_service_logs_into_its_home(home: Path) -> None:
    with daemon(home, "--service") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=START_SECONDS)[1] == b""
    assert [line["event"] for line in lines_of((home / "logs" / "daemon.log").read_text())][-1] == "ended"


SECRET = "tell nobody of the Zanzibar plan"


@pytest.fixture(params=[False, True], ids=["quiet", "content"])
def asked(request: pytest.FixtureRequest, home: Path) -> Iterator[tuple[bool, list[dict[str, Any]]]]:
    """The lines of a daemon after valid and invalid requests by HTTP and gRPC; and whether content was to be logged."""
    file, flags = home / "log", ["--log-content"] if request.param else []
    command = [*COMMAND, "--memory", "2GB", "--log-level", "debug", "--log-file", str(file), *flags]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.DEVNULL) as process:
        with grpc.insecure_channel(f"unix:{home}/run/control.sock") as channel:
            wait_until_ready(process, channel)
            status = control_pb2_grpc.ControlServiceStub(channel).Status(control_pb2.StatusRequest())
            ask_by_http(f"http://{status.daemon.http_address}")
            limits = inference_pb2.Limits(max_tokens=4)
            call = inference_pb2_grpc.InferenceServiceStub(channel).Generate(
                inference_pb2.GenerateRequest(model="demo", prompt=SECRET, limits=limits),
                metadata=(("x-request-id", "by-grpc"),),
            )
            assert list(call)[-1].HasField("finished")
            assert dict(call.trailing_metadata())["x-request-id"] == "by-grpc"
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0
    yield request.param, lines_of(file.read_text())


def ask_by_http(address: str) -> None:
    chat = {"model": "demo", "messages": [{"role": "user", "content": SECRET}], "options": {"num_predict": 4}}
    wrong = {"model": "demo", "messages": [{"role": SECRET, "content": SECRET}], "format": SECRET}
    with httpx.Client(base_url=address, timeout=WAIT_SECONDS) as http:
        for path, body, given in (("/api/chat", chat, "by-http"), ("/api/chat", wrong, "badly"), ("/v1/x", {}, "no")):
            answer = http.post(path, json=body, headers={"X-Request-Id": given})
            assert answer.headers["x-request-id"] == given and (answer.status_code == 200) == (given == "by-http")
        made = http.get("/api/version", headers={"X-Request-Id": 'a"} b'}).headers["x-request-id"]
        assert made.startswith("req_"), "what could end a line or a field is not taken"


def test_one_id_from_the_gateway_to_the_worker_and_content_only_if_asked_for(
    asked: tuple[bool, list[dict[str, Any]]],
) -> None:
    with_content, lines = asked
    ends = {line["request_id"]: line for line in lines if line["event"] == "request" and line["level"] == "info"}
    assert set(ends) == {"by-http", "by-grpc", "badly", "no"}
    for request_id, route in (("by-http", "POST /api/chat"), ("by-grpc", "/hypura.v1.InferenceService/Generate")):
        end = ends[request_id]
        assert (end["route"], end["outcome"]) == (route, "ok") and end["model"].startswith("demo")
        assert end["output_tokens"] in range(1, 5) and end["prompt_tokens"] > 0 and end["seconds"] > 0
        assert [x["level"] for x in lines if x["event"] == "answering" and x["request_id"] == request_id] == ["debug"]
    assert (ends["badly"]["outcome"], ends["badly"]["status"]) == ("InvalidRequest", 400)
    assert (ends["no"]["outcome"], ends["no"]["status"]) == ("refused", 404)
    told = [line for line in lines if "Zanzibar" in json.dumps(line)]
    assert {line["event"] for line in told} == ({"content"} if with_content else set())
    assert len(told) == (2 if with_content else 0)


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\nb", "ä", "{}"])
def test_an_id_with_unusual_characters_is_replaced(given: str) -> None:
    assert begin(given, "route").id.startswith("req_")
