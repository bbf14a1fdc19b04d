"""Standard streams that are closed, full, in ASCII, or closed by their reader."""

import subprocess

import pytest

from tests.client.conftest import TIMEOUT_SECONDS, Hypuractl

COMMANDS = ("status", "models --json", "show m --tensors", "plan m", "--help", "run m hello", "version")


def shell(hypuractl: Hypuractl, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, where H is hypuractl."""
    return subprocess.run(
        ["bash", "-c", line.replace("H ", f"{hypuractl.command} ")],
        cwd=hypuractl.folder,
        env={**hypuractl.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_stdout_is_an_error(hypuractl: Hypuractl, command: str) -> None:
    done = shell(hypuractl, f"H {command} >/dev/full")
    assert (done.returncode, "Traceback" in done.stderr) == (74, False)
    assert "error: standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("command", ("status", "run m hello", "models --json"))
def test_a_closed_stdout_is_an_error(hypuractl: Hypuractl, command: str) -> None:
    done = shell(hypuractl, f"H {command} >&-")
    assert (done.returncode, "Traceback" in done.stderr) == (74, False)
    assert "standard output cannot be written: Bad file descriptor" in done.stderr


@pytest.mark.parametrize("command", ("run m forever", "show m --tensors", "--help", "run m hello --json"))
def test_a_closed_reader_is_not_an_error(hypuractl: Hypuractl, command: str) -> None:
    done = shell(hypuractl, f"{{ H {command}; echo code $? >&2; }} | true")
    assert "code 141" in done.stderr
    assert not {"Traceback", "error", "Exception"} & set(done.stderr.replace(":", " ").split())


@pytest.mark.parametrize("redirection", ("<&-", "2>&-", "2>/dev/full", "<&- 2>&-"))
def test_other_streams_may_be_closed_or_full(hypuractl: Hypuractl, redirection: str) -> None:
    done = shell(hypuractl, f"H run m hello {redirection}")
    assert (done.returncode, done.stdout) == (0, "né hello\n")


def test_all_streams_closed(hypuractl: Hypuractl) -> None:
    done = shell(hypuractl, "H run m hello <&- >&- 2>&-; echo $?")
    assert done.stdout == "74\n"


@pytest.mark.parametrize("environ", ({"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}))
def test_an_ascii_terminal(hypuractl: Hypuractl, environ: dict[str, str]) -> None:
    for command in COMMANDS:
        done = shell(hypuractl, f"H {command}", **environ)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
    assert shell(hypuractl, "H run m hello --json", PYTHONIOENCODING="ascii").stdout.count("n\\u00e9 hello") == 1


def test_paths_that_the_system_refuses_are_errors(hypuractl: Hypuractl) -> None:
    for line, words in (
        (f"H show {'x' * 300}/y", "File name too long"),
        ("mkdir gone; cd gone; rmdir ../gone; H add m.gguf", "No such file or directory"),
    ):
        done = shell(hypuractl, line)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done
        assert f"{words}" in done.stderr and done.stderr.startswith("error: ")
