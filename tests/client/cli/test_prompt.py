"""The prompt of a single answer: arguments, what is piped in, or both; and text that is not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypura_client.cli.prompt import decoded
from tests.client.conftest import TIMEOUT_SECONDS, Hypuractl


def asked(hypuractl: Hypuractl, *arguments: str | bytes, stdin: str | bytes) -> str:
    """The prompt as it reached the daemon."""
    outcome = hypuractl("run", "m", "--json", *arguments, stdin=stdin)
    assert outcome.code == 0, outcome
    text: str = outcome.json["text"]
    return text.removeprefix("né ")


@pytest.mark.parametrize(
    ("arguments", "stdin", "prompt"),
    [
        ((), "one\n\ntwo\n", "one\n\ntwo"),
        (("summarise",), "a report\r\n", "a report\nsummarise"),
        (("why", "is", "it", "blue?"), "", "why is it blue?"),
        (("--", "-1 is what?"), "", "-1 is what?"),
        (("hello",), " \n", "hello"),
        ((), "\ufeffmarked", "marked"),
        ((), "ünïcödé 🦙".encode("utf-16"), "ünïcödé 🦙"),
        ((), "x".encode("utf-32"), "x"),
        ((), "/bye\n", "/bye"),
    ],
)
def test_piped_text_and_arguments_are_one_prompt(
    hypuractl: Hypuractl, arguments: tuple[str, ...], stdin: str | bytes, prompt: str
) -> None:
    assert asked(hypuractl, *arguments, stdin=stdin) == prompt


def test_a_pipe_is_read_to_its_end_however_slowly_it_comes(hypuractl: Hypuractl) -> None:
    with hypuractl.start("run", "m", "summarise") as process:
        assert process.stdin is not None and process.stderr is not None
        assert "waiting for standard input" in process.stderr.readline()
        out, _ = process.communicate("late\n", TIMEOUT_SECONDS)
    assert (process.returncode, out) == (0, "né late\nsummarise\n")


def test_a_silent_pipe_delays_the_prompt_for_a_while_only() -> None:
    """Schedulers and test runners leave such a pipe open: the command would wait for ever."""
    code = (
        "from hypura_client.cli import prompt\n"
        "prompt._SILENCE_SECONDS, prompt._FIRST_BYTE_SECONDS = 0.01, 0.02\n"
        "print('asked:', prompt.prompt_of(['why?'], print))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.wait(TIMEOUT_SECONDS) == 0 and process.stdout is not None
        waiting, note, prompt = process.stdout.read().decode().splitlines()
    assert waiting.startswith("waiting") and "nothing was piped in" in note and prompt == "asked: why?"


def test_latin_1_is_read_and_noted(hypuractl: Hypuractl) -> None:
    for arguments, stdin in (((), "café au lait".encode("latin-1")), (("café au lait".encode("latin-1"),), "")):
        outcome = hypuractl("run", "m", *arguments, stdin=stdin)
        assert (outcome.code, outcome.stdout) == (0, "né caf\ufffd au lait\n")
        assert "iconv" in outcome.stderr
    assert asked(hypuractl, "x", "--system", b"\xe9t\xe9 comme hiver", stdin="") == "x"


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("", "standard input is empty"),
        (" \n\n", "standard input is empty"),
        (b"\x7fELF\0\0", "binary"),
        (bytes(range(128, 255)) * 9, "iconv"),
        (b"x" * ((16 << 20) + 1), "more than 16777216 bytes"),
    ],
)
def test_an_unusable_prompt_is_refused(hypuractl: Hypuractl, stdin: str | bytes, words: str) -> None:
    outcome = hypuractl("run", "m", "--json", stdin=stdin)
    assert (outcome.code, outcome.json["error"]["type"]) == (2, "UsageError")
    assert words in outcome.json["error"]["message"]


def test_a_standard_input_that_cannot_be_read(hypuractl: Hypuractl, tmp_path: Path) -> None:
    unreadable = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    with hypuractl.start("run", "m", stdin=unreadable) as process:
        _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    os.close(unreadable)
    assert (process.returncode, "Traceback" in err) == (2, False)
    assert "standard input cannot be read: Bad file descriptor" in err


def test_the_encoding_of_the_locale_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "ISO-8859-1")
    assert decoded("café".encode("latin-1"), "it", print) == "café"


@pytest.mark.parametrize("command", ["show", "rm", "add", "plan", "run", "pull", "load", "unload"])
def test_names_and_paths_that_are_not_utf_8_are_refused_by_name(
    hypuractl: Hypuractl, tmp_path: Path, command: str
) -> None:
    name = b"caf\xe9.gguf"
    (tmp_path / os.fsdecode(name)).touch()
    more = ("hello",) if command == "run" else ()
    outcome = hypuractl(command, name, *more)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "is not in UTF-8" in outcome.stderr and "caf" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_other_files_may_be_called_anything(hypuractl: Hypuractl, tmp_path: Path) -> None:
    tools = os.fsdecode(b"tools-\xe9.json")
    (tmp_path / tools).write_text("[]")
    assert hypuractl("run", "m", "x", "--tools", tools).code == 0
    missing = hypuractl("run", "m", "x", "--tools", os.fsdecode(b"missing-\xe9"))
    assert missing.code == 2 and "missing-" in missing.stderr


def test_a_shells_pipe(hypuractl: Hypuractl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the file\n")
    line = f"cat file | {hypuractl.command} run m summarise"
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=hypuractl.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "né the file\nsummarise\n")
