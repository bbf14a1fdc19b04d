"""A conversation at a terminal: commands, blocks of several lines, Ctrl-C, history, and a daemon that dies in it."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hypura.v1 import inference_pb2 as inference
from hypura_client.cli.dialogue.answer import Display
from hypura_client.cli.dialogue.commands import is_command
from hypura_client.cli.dialogue.conversation import AnswerOptions, Conversation, set_parameter
from hypura_client.sync import Client
from hypura_daemon.models.modelfile import parse_modelfile
from tests.client.conftest import TIMEOUT_SECONDS, Hypuractl
from tests.client.test_launch import SERVES, environ_with, place  # noqa: F401 - a fixture

PROMPT = ">>> "


class Terminal:
    """hypuractl at a pseudoterminal."""

    def __init__(self, hypuractl: Hypuractl, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hypura_client.cli.main", *arguments],
            cwd=hypuractl.folder,
            # A terminal that knows nothing, so that readline draws nothing of its own.
            env={**hypuractl.environ, "TERM": "dumb", "INPUTRC": "/dev/null", "COLUMNS": "200"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: _own_terminal(slave),
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to and with the text, from where the last call ended."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while text not in self.seen:
            assert select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0], (text, self.seen)
            try:
                piece = os.read(self._master, 4096)
            except OSError:  # Linux answers EIO once the other side has closed.
                piece = b""
            assert piece, (text, self.seen)
            self.seen += piece.decode("utf-8", "replace")
        before, found, self.seen = self.seen.partition(text)
        # The prompt is shown a moment before readline reads; a Ctrl-C in that moment may be lost.
        while text == PROMPT and termios.tcgetattr(self._master)[3] & termios.ICANON and time.monotonic() < end:
            time.sleep(0.01)
        return before + found

    def interrupt(self, text: str = "") -> None:
        """Ctrl-C, until the text is seen, or else the process has ended.

        Python's readline does not notice a signal that comes while it handles a key, before the next key: a person
        presses again, too.
        """
        for _ in range(10):
            self.type("\x03")
            end = time.monotonic() + 2.0
            while time.monotonic() < end:
                if text and text in self.seen:
                    self.until(text)
                    return
                if not text and self.process.poll() is not None:
                    return
                if select.select([self._master], [], [], 0.05)[0]:
                    try:
                        self.seen += os.read(self._master, 4096).decode("utf-8", "replace")
                    except OSError:  # Linux answers EIO once the other side has closed.
                        return
        raise AssertionError((text, self.seen))

    def ask(self, line: str) -> str:
        """What comes of a line, up to the next prompt."""
        self.type(line + "\r")
        return self.until(PROMPT)

    def close(self) -> int:
        code = self.process.wait(TIMEOUT_SECONDS)
        os.close(self._master)
        return code


def _own_terminal(slave: int) -> None:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(hypuractl: Hypuractl) -> Iterator[Terminal]:
    terminal = Terminal(hypuractl, "run", "m")
    terminal.until(PROMPT)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.close()


@pytest.mark.parametrize("line", ["/bye", "/exit", "\x04"])
def test_what_ends_the_conversation(terminal: Terminal, line: str) -> None:
    terminal.type(line if line == "\x04" else f"{line}\r")
    assert terminal.close() == 0


def test_a_block_of_several_lines_is_one_message(terminal: Terminal) -> None:
    terminal.type('"""one\r')
    terminal.until("... ")
    terminal.type("two\r")
    terminal.until("... ")
    assert "né one\r\ntwo\r\nthree\r\n" in terminal.ask('three"""')
    assert "né a b\r\n" in terminal.ask('"""a b"""')


def test_commands_are_not_sent_to_the_model(terminal: Terminal) -> None:
    for line, words in {
        "/?": "/save NAME",
        "/help": "/save NAME",
        "/? set": "/set system",
        "/clear": "are forgotten",
        "/set system Be brief.": "is set",
        "/set parameter temperature 0": "temperature is 0",
        "/set parameter stop a 'b c'": "stop is a, b c",
        "/set parameter temperature hot": "not a value for temperature",
        "/set parameter warmth 3": "there is no parameter 'warmth'",
        "/set parameter num_ctx 99999999999999": "not a value for num_ctx",
        "/set format json": "in JSON",
        "/set format {": "is not a format",
        "/set noformat": "any form",
        "/set think high": "first, high",
        "/set quiet": "No statistics",
        "/set verbose": "Statistics",
        "/set colour": "There is no /set colour",
        "/show info": "quantization",
        "/show system": "Be brief.",
        "/show template": "{{ messages }}",
        "/show parameters": "temperature",
        "/show": "/show info",
        "/save kept": "created kept",
        "/load other": "other is loaded",
        "/load missing": "error: no model missing",
        "/load": "needs a name",
        "/nonsense": "There is no command /nonsense",
    }.items():
        said = terminal.ask(line)
        assert words in said, (line, said)
        assert "né" not in said, (line, said)


def test_models_are_listed(hypuractl: Hypuractl, terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "listed.gguf").touch()
    assert hypuractl("add", "listed.gguf").code == 0
    assert "listed" in terminal.ask("/list").replace("/list", "", 1)


def test_paths_are_text(terminal: Terminal, tmp_path: Path) -> None:
    assert "né /home/x is what?" in terminal.ask("/home/x is what?")
    assert is_command("/bye") and is_command("/") and is_command("/set system /home")
    assert not is_command("/tmp is full") and not is_command("a /bye") and not is_command(" /bye")


def test_a_system_message_of_several_lines(terminal: Terminal) -> None:
    terminal.type('/set system """Be\r')
    terminal.until("... ")
    assert "is set" in terminal.ask('brief."""')
    assert "Be\r\nbrief." in terminal.ask("/show system")


def test_interrupts(terminal: Terminal) -> None:
    """At the prompt Ctrl-C clears the line; during an answer it ends the answer; twice at an empty line, all."""
    terminal.type("half a line")
    terminal.until("half a line")
    terminal.interrupt(PROMPT)
    assert "né hello" in terminal.ask("hello")
    terminal.type("forever\r")
    terminal.until("né né ")
    terminal.interrupt("(interrupted)")
    terminal.until(PROMPT)
    terminal.interrupt("Ctrl-C again")
    terminal.until(PROMPT)
    assert "né again" in terminal.ask("again")
    terminal.interrupt("Ctrl-C again")
    terminal.until(PROMPT)
    terminal.interrupt()
    assert terminal.close() == 0


def test_a_failed_answer_does_not_end_the_conversation(hypuractl: Hypuractl) -> None:
    terminal = Terminal(hypuractl, "run", "dying")
    terminal.until(PROMPT)
    for _ in range(2):
        assert "signal 9" in terminal.ask("hello")
    terminal.type("\x04")
    assert terminal.close() == 0


def test_what_was_typed_is_there_in_the_next_one(hypuractl: Hypuractl) -> None:
    history = Path(hypuractl.environ["HYPURA_HOME"]) / "history"
    history.parent.mkdir(exist_ok=True)
    first = Terminal(hypuractl, "run", "m")
    first.until(PROMPT)
    first.ask("remember me")
    first.ask("/set nohistory")
    first.ask("forget me")
    first.type("/bye\r")
    assert first.close() == 0
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.read_text() == "remember me\n/set nohistory\n"
    second = Terminal(hypuractl, "run", "m")
    second.until(PROMPT)
    second.type("\x10\x10")  # Ctrl-P twice: the line before the last.
    second.until("remember me")
    second.type("\r")
    assert "né remember me" in second.until(PROMPT)
    second.type("\x04")
    assert second.close() == 0


def test_invalid_bytes_typed_are_not_a_crash(terminal: Terminal) -> None:
    os.write(terminal._master, b"caf\xe9\r")
    said = terminal.until(PROMPT)
    assert "né caf" in said and "Traceback" not in said


def test_a_daemon_that_dies_does_not_end_the_conversation(place, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """The client keeps the messages, and sends all of them to the next daemon."""
    hypuractl = Hypuractl(environ_with(SERVES, place, tmp_path), tmp_path)
    terminal = Terminal(hypuractl, "run", "counting")
    terminal.until(PROMPT)
    assert "né 1 messages" in terminal.ask("first")
    with Client(place.socket_path) as client:
        daemon = psutil.Process(client.status().daemon.pid)
    daemon.kill()
    while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE:
        pass
    said = terminal.ask("second")
    assert "starting the hypura daemon" in said and "né 3 messages" in said
    with Client(place.socket_path) as client:
        daemon = psutil.Process(client.status().daemon.pid)
    terminal.type("forever\r")
    terminal.until("né né ")
    daemon.send_signal(signal.SIGKILL)
    said = terminal.until(PROMPT)
    assert "error: the connection to the daemon at" in said and "try again" in said
    for raw in ("Socket closed", "UNAVAILABLE", "StatusCode", "errors resolving", "recvmsg", "ipv4:", "unix:"):
        assert raw not in said
    assert "né 5 messages" in terminal.ask("third")
    terminal.type("/bye\r")
    assert terminal.close() == 0
    with Client(place.socket_path) as client:
        last = psutil.Process(client.status().daemon.pid)
        client.shutdown()
    while last.is_running() and last.status() != psutil.STATUS_ZOMBIE:
        pass


def test_what_was_said_and_set_is_a_modelfile() -> None:
    options = AnswerOptions()
    for name, values in (("seed", ["4294967295"]), ("temperature", ["0.123456789"]), ("stop", ["<end>", 'a "b"'])):
        set_parameter(options, name, values)
    talk = Conversation("m:latest", True, options, "Be brief.", Display(print, print))
    talk.messages = [inference.ChatMessage(role="user", content="one\ntwo")]
    made = parse_modelfile(talk.modelfile())
    assert (made.base, made.overrides.system) == ("m:latest", "Be brief.")
    assert made.overrides.messages == (("user", "one\ntwo"),)
    assert made.overrides.parameters == (
        ("temperature", "0.123456789"),
        ("seed", "4294967295"),
        ("stop", "<end>"),
        ("stop", 'a "b"'),
    )
    talk.system = 'three """ quotes'
    with pytest.raises(ValueError, match="cannot hold"):
        talk.modelfile()
