"""hypuractl as a process: its output, exit codes and signals."""

import signal
from pathlib import Path
from typing import IO

import pytest

from hypura_client.sync import Client
from tests.client.conftest import TIMEOUT_SECONDS, Hypuractl


def read_until(stream: IO[str] | None, text: str) -> str:
    """The stream's output up to and including the text."""
    assert stream is not None
    seen = ""
    while not seen.endswith(text):
        piece = stream.read(1)
        assert piece, f"the stream ended after {seen!r}"
        seen += piece
    return seen


def test_status_json(hypuractl: Hypuractl, daemon_socket: Path) -> None:
    found = hypuractl("status", "--json").json
    assert list(found) == ["daemon", "models"]
    assert found["daemon"]["socket_path"] == str(daemon_socket)
    assert {"pid", "version", "uptime_seconds", "home", "memory_budget_bytes"} <= set(found["daemon"])
    model = found["models"][0]
    assert list(model)[:4] == ["name", "state", "mode", "worker_pid"]
    assert [model[key] for key in list(model)[:4]] == ["ready", "ready", "expert-streaming", 4321]
    assert model["plan"]["experts"]["groups"][0]["slots"] == 64
    assert model["statistics"]["failed_requests"] >= 0
    assert "tensors" not in model["plan"]


def test_run_json(hypuractl: Hypuractl) -> None:
    outcome = hypuractl("run", "m", "hello", "--memory", "2GB", "--seed", "5", "--json")
    found = outcome.json
    assert outcome.code == 0
    assert found["text"] == "né hello"
    assert found["token_ids"] == [7, 8, 9]
    assert (found["model"], found["mode"]) == ("m", "expert-streaming")
    assert (found["seed"], found["finish_reason"], found["load_seconds"]) == (5, "length", 1.5)
    assert (found["resident_bytes"], found["memory_limit_bytes"]) == (10**9, 2 * 10**9)
    expected = "prompt_tokens cached_tokens output_tokens tok_per_second ttft_seconds prefill_seconds "
    expected += "decode_seconds hit_rate bytes_read_per_token stall_seconds_per_token streamed_bytes "
    expected += "prefill_bytes_read worker_peak_rss_bytes"
    assert set(expected.split()) <= set(found)
    assert "starting the worker" in outcome.stderr


def test_run_takes_a_loaded_model_as_it_is(hypuractl: Hypuractl) -> None:
    outcome = hypuractl("run", "ready", "hello", "--json")
    assert outcome.code == 0
    assert "starting the worker" not in outcome.stderr


def test_run_text(hypuractl: Hypuractl) -> None:
    for model in ("m", "wordless"):
        outcome = hypuractl("run", model, "hello")
        assert (outcome.code, outcome.stdout) == (0, "né hello\n")
        assert "hit rate 50.0%" in outcome.stderr
        assert "1 of 3 tokens forced by the format" in outcome.stderr
        assert "1.00 GB resident, 18.00 GB streamed" in outcome.stderr


def test_thinking_is_shown_beside_the_answer(hypuractl: Hypuractl) -> None:
    """A pipe gets only the answer."""
    outcome = hypuractl("run", "thoughtful", "hello", "--think-level", "high")
    assert (outcome.code, outcome.stdout) == (0, "né hello\n")
    assert "hm, high\n\n" in outcome.stderr
    hidden = hypuractl("run", "thoughtful", "hello", "--think", "--hide-thinking")
    assert hidden.stdout == "né hello\n"
    assert "hm" not in hidden.stderr
    found = hypuractl("run", "thoughtful", "hello", "--no-think", "--json").json
    assert (found["thinking"], found["text"], found["tool_calls"]) == ("hm, False", "né hello", [])


def test_tool_calls_are_shown(hypuractl: Hypuractl, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text('[{"type": "function", "function": {"name": "weather"}}]')
    outcome = hypuractl("run", "m", "hello", "--tools", str(tools))
    assert outcome.stdout.startswith('weather({"city": "Köln"})')
    found = hypuractl("run", "m", "hello", "--tools", str(tools), "--json").json
    assert found["tool_calls"] == [{"id": "call_1", "name": "weather", "arguments": {"city": "Köln"}}]
    assert hypuractl("run", "m", "hello", "--tools", str(tmp_path / "none")).code == 2


def test_plan_profile_show_and_tensors(hypuractl: Hypuractl) -> None:
    plan = hypuractl("plan", "m", "--memory", "2GB", "--json").json
    assert plan["mode"] == "expert-streaming"
    assert plan["estimate"]["bound"] == "drive"
    assert "tensors" not in plan
    tensors = hypuractl("plan", "m", "--tensors", "--json").json["tensors"]
    assert (tensors[0]["role"], tensors[0]["tier"]) == ("routed-expert", "nvme")
    assert hypuractl("profile", "--json").json["drives"][0]["bytes_per_second"] == 1.5e9
    shown = hypuractl("show", "m", "--json").json
    assert shown["metadata"] == {"general.architecture": "qwen3moe"}
    assert "Test [bold]CPU" in hypuractl("profile").stdout
    for command in ("plan", "show"):
        assert "blk.0.ffn_up_exps.weight" in hypuractl(command, "m", "--tensors").stdout


def test_a_plan_says_when_the_budget_is_the_limit(hypuractl: Hypuractl) -> None:
    shown = hypuractl("plan", "m", "--memory", "1000.15TB").stdout
    assert "the daemon's budget for all models is 20.00 GB, less than the 1.00 PB of --memory" in " ".join(
        shown.split()
    )
    assert hypuractl("plan", "m", "--memory", "1PB", "--json").json["limiting_budget_bytes"] == 20 * 10**9
    assert hypuractl("plan", "m", "--memory", "1GB", "--json").json["limiting_budget_bytes"] is None


def test_models_are_registered_by_path(hypuractl: Hypuractl, tmp_path: Path) -> None:
    (tmp_path / "first.gguf").touch()
    added = hypuractl("add", "first.gguf", "--name", "named", "--json").json
    assert added["models"][0]["path"] == str(tmp_path / "first.gguf")
    assert "named" in hypuractl("models").stdout
    assert hypuractl("rm", "named", "--json").json == {"removed": "named"}
    assert hypuractl("load", "first.gguf", "--pin", "--json").json["name"] == "first"
    assert "first is ready" in hypuractl("load", "./first.gguf").stdout
    assert hypuractl("unload", "first", "--json").json == {"model": "first", "was_loaded": True}
    assert "9.9" in hypuractl("status").stdout


def test_a_folder_of_several_models_is_not_one_model(hypuractl: Hypuractl, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.gguf").touch()
    outcome = hypuractl("plan", f"{tmp_path}/")
    assert outcome.code == 1
    assert "holds 2 models (one.gguf, two.gguf)" in outcome.stderr


def test_a_folders_broken_files_are_named(hypuractl: Hypuractl, tmp_path: Path) -> None:
    for name in ("one", "broken-1", "broken-2"):
        (tmp_path / f"{name}.gguf").touch()
    outcome = hypuractl("add", str(tmp_path))
    assert (outcome.code, "one" in outcome.stdout) == (1, True)
    assert "passed over: " in outcome.stderr
    assert all(f"broken-{number}.gguf is damaged" in outcome.stderr for number in (1, 2))
    found = hypuractl("add", str(tmp_path), "--json")
    assert found.code == 1
    assert [Path(file["path"]).name for file in found.json["passed_over"]] == ["broken-1.gguf", "broken-2.gguf"]


def test_running_a_folder_registers_its_only_model_and_no_others(hypuractl: Hypuractl, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"of-many-{number}.gguf").touch()
    outcome = hypuractl("run", f"{tmp_path}/", "hello")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "holds 20 models" in outcome.stderr and "and 8 more" in outcome.stderr
    assert "of-many" not in hypuractl("models").stdout
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "alone.gguf").touch()
    assert hypuractl("run", f"{tmp_path}/single", "hello").stdout == "né hello\n"
    (tmp_path / "none").mkdir()
    assert "holds no model" in hypuractl("run", f"{tmp_path}/none", "hello").stderr


def test_a_folder_called_as_a_model_does_not_hide_it(hypuractl: Hypuractl, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert hypuractl("plan", "m", "--json").json["model"] == "m"


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "words"),
    [
        (["show", "missing"], 1, "ModelNotFound", "no model missing"),
        (["show", "nowhere.gguf"], 1, "ModelFileError", "nowhere.gguf does not exist"),
        (["run", "dying", "x"], 1, "WorkerDied", "signal 9"),
        (["load", "unready"], 1, "UnexpectedReply", "hypuractl status"),
        (["plan", "m", "--memory", "4XB"], 2, "UsageError", "'4XB' cannot be used; give a size"),
        (["plan", "m", "--weight-cache", "101%"], 2, "UsageError", "'101%' cannot be used; give a percentage"),
        (["run", "m", "x", "--max-tokens", "0"], 2, "UsageError", "--max-tokens"),
        (["run", "wordless", "x", "--system", "y"], 2, "UsageError", "no chat template"),
        (["run"], 2, "UsageError", "MODEL"),
        (["status", "--unknown"], 2, "UsageError", "--unknown"),
    ],
)
def test_errors(hypuractl: Hypuractl, arguments: list[str], code: int, kind: str, words: str) -> None:
    printed = hypuractl(*arguments, "--json")
    assert printed.code == code
    assert printed.json["error"]["type"] == kind
    assert words in printed.json["error"]["message"]
    shown = hypuractl(*arguments)
    assert shown.code == code
    assert words in shown.stderr
    assert "Traceback" not in shown.stderr


def test_run_json_without_a_prompt_is_a_usage_error(hypuractl: Hypuractl) -> None:
    outcome = hypuractl("run", "m", "--json")
    assert (outcome.code, outcome.json["error"]["type"]) == (2, "UsageError")


def test_no_daemon(hypuractl: Hypuractl, short_folder: Path) -> None:
    hypuractl.environ["HYPURA_SOCKET"] = str(short_folder / "none.sock")
    outcome = hypuractl("status", "--json")
    assert (outcome.code, outcome.json["error"]["type"]) == (3, "CannotConnect")
    assert "HYPURA_NO_START" in hypuractl("models").stderr
    assert hypuractl("stop", "--json").json == {"was_running": False}
    assert hypuractl("version", "--json").json["version"]


def test_interrupt_ends_the_answer_and_the_daemons_work(hypuractl: Hypuractl, daemon_socket: Path) -> None:
    with Client(daemon_socket) as client, client.watch() as changes:
        before = next(changes).status.models[0].statistics.failed_requests
        with hypuractl.start("run", "m", "forever", stdin="") as process:
            read_until(process.stdout, "né ")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 130
        assert next(changes).status.models[0].statistics.failed_requests > before


def test_interrupt_with_json(hypuractl: Hypuractl) -> None:
    with hypuractl.start("run", "silent", "x", "--memory", "2GB", "--json", stdin="") as process:
        read_until(process.stderr, "starting the worker\n")
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130
    assert stdout == '{"error": {"type": "Interrupted", "message": "interrupted"}}\n'


def test_a_reader_that_closes_stdout_is_not_a_crash(hypuractl: Hypuractl) -> None:
    with hypuractl.start("run", "m", "forever", stdin="") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read_until(process.stdout, "né ")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 141


COMMANDS = ("models", "add", "rm", "show", "plan", "load", "unload", "status", "run", "profile", "stop", "version")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(hypuractl: Hypuractl, command: str) -> None:
    outcome = hypuractl(command, "--help")
    assert outcome.code == 0
    assert f"hypuractl {command}" in outcome.stdout.partition("Examples:")[2]


def test_status_says_what_is_measured(hypuractl: Hypuractl, daemon_socket: Path) -> None:
    shown = " ".join(hypuractl("status").stdout.split())
    assert "measuring the machine for 7 s; until it is measured, loads are planned from what is known of it" in shown
    measuring = hypuractl("status", "--json").json["daemon"]["measuring"]
    assert measuring == {"what": "the machine", "seconds": 7.0, "measured": False, "error": ""}
