"""A conversation at a terminal: reads lines, carries out commands and asks questions, until Ctrl-D or /bye.

    >>> line          a question, or a command (commands.py)
    >>> \"\"\"line      a question of several lines
    ... line\"\"\"

Ctrl-C clears the line, or ends the answer; twice at an empty line it ends the conversation.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Protocol

from hypura.v1 import control_pb2 as control
from hypura_client.cli.connection import Connection
from hypura_client.cli.dialogue.answer import print_summary, write_text
from hypura_client.cli.dialogue.commands import Commands, NextStep, is_command
from hypura_client.cli.dialogue.conversation import Conversation
from hypura_client.cli.output import note
from hypura_client.cli.prompt import readable
from hypura_client.discovery import locate
from hypura_client.errors import HypuraError
from hypura_client.sync import Client

MAX_KEPT_LINES = 1000
_MARK = '"""'


class Loader(Protocol):
    """Loads a model by its name or path. Returns its name, whether it has a chat template, and its status."""

    def __call__(self, connection: Connection, model: str) -> tuple[str, bool, control.ModelStatus]: ...


class Dialogue:
    """One conversation from its first line to its last; see the module's docstring."""

    def __init__(
        self,
        connection: Connection,
        conversation: Conversation,
        load: Loader,
        status: control.ModelStatus,
    ) -> None:
        self._connection = connection
        self._conversation = conversation
        self._load = load
        self._status = status
        self._commands = Commands(conversation, verbose=True)
        self._lines = Lines(locate(os.environ).home / "history")

    def run(self) -> None:
        """Runs the conversation until the user ends it."""
        self._connection.renew()
        note("Type /? for help. Ctrl-C ends an answer, Ctrl-D or /bye the conversation.")
        while True:
            self._lines.kept = self._commands.keeps_history
            try:
                line = self._lines.message()
            except EOFError:
                return
            if not line.strip():
                continue
            try:
                if self._turn(line):
                    return
            except KeyboardInterrupt:
                note("(interrupted)")
            except HypuraError as error:
                note(f"error: {error}")

    def _turn(self, line: str) -> bool:
        """Handles one line. Returns whether the conversation has ended. Raises the errors of errors.py."""
        if is_command(line):
            step = self._commands.carry_out(line, self._client)
            if step is NextStep.LOAD:
                self._change_model(self._commands.wanted_model)
            return step is NextStep.END
        question = _unmarked(line)
        if not question.strip():
            return False
        answer = self._conversation.ask(self._client(), question)
        write_text("\n")
        if answer.finished is None:
            note("(interrupted)")
        elif self._commands.verbose:
            print_summary(answer.finished, self._status)
        return False

    def _client(self) -> Client:
        """A client of a running daemon with the model loaded: the daemon may have ended since the last turn."""
        if self._connection.renew():
            note("The daemon had ended and was started again; the conversation is kept.")
            _, _, self._status = self._load(self._connection, self._conversation.model)
        return self._connection.client

    def _change_model(self, wanted: str) -> None:
        self._connection.renew()
        conversation = self._conversation
        conversation.model, conversation.chats, self._status = self._load(self._connection, wanted)
        conversation.messages.clear()
        if conversation.system and not conversation.chats:
            conversation.system = ""
        note(f"{conversation.model} is loaded; a new conversation starts.")


class Lines:
    """Messages typed at the terminal, with line editing and the history of earlier conversations.

    kept: whether typed lines are written to the history file, which only its owner may read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.kept = True
        self._never_kept = os.environ.get("HYPURA_NO_HISTORY") == "1"
        self._readline = _readline()
        if self._readline is not None and not self._never_kept:
            for line in _kept_lines(file):
                self._readline.add_history(line)

    def message(self) -> str:
        """The next message, which may have several lines. Raises EOFError at its end, or after two Ctrl-C."""
        pieces: list[str] = []
        interrupted_empty = False
        while True:
            typed = _Typed(self._readline)
            try:
                with typed.watched():
                    line = self._input("... " if pieces else ">>> ")
            except EOFError:
                sys.stderr.write("\n")
                raise
            except KeyboardInterrupt:
                sys.stderr.write("\n")
                if interrupted_empty and not pieces and not typed.text:
                    raise EOFError from None
                interrupted_empty = not pieces and not typed.text
                if interrupted_empty:
                    note("Ctrl-C again, Ctrl-D or /bye ends the conversation.")
                pieces.clear()
                continue
            self._keep(line)
            pieces.append(line)
            text = "\n".join(pieces)
            if not _is_open(text):
                return text

    def _input(self, prompt: str) -> str:
        if not sys.stdout.isatty():  # The answers go elsewhere; the prompt does not belong to them.
            sys.stderr.write(prompt)
            prompt = ""
        try:
            return readable(input(prompt), "the line", note)
        except ValueError as error:
            note(f"error: {error}")
            return ""

    def _keep(self, line: str) -> None:
        if not self.kept or self._never_kept or not line.strip():
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(line.replace("\n", " ") + "\n")
        except OSError as error:
            self._never_kept = True
            note(f"note: the history is not kept: {self._file} cannot be written: {error.strerror}")


class _Typed:
    """The line's text when Ctrl-C was pressed; readline has cleared it by the time the exception arrives."""

    def __init__(self, readline: ModuleType | None) -> None:
        self._readline = readline
        self.text = ""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        def interrupt(number: int, frame: FrameType | None) -> None:
            self.text = self._readline.get_line_buffer() if self._readline is not None else ""
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _readline() -> ModuleType | None:
    """The line editor, if Python has it: importing it gives input() its editing keys."""
    try:
        import readline
    except ImportError:
        return None
    return readline


def _kept_lines(file: Path) -> list[str]:
    """The last lines of the history; a long file is shortened to them."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
        if len(lines) > 2 * MAX_KEPT_LINES:
            lines = lines[-MAX_KEPT_LINES:]
            file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        note(f"note: {file} cannot be read: {error.strerror}; there is no history")
        return []
    return lines[-MAX_KEPT_LINES:]


def _is_open(text: str) -> bool:
    """Whether a block of several lines is not finished: a message, or the text of /set system."""
    start = text.lstrip()
    if start.startswith("/set"):
        words = start.split(maxsplit=2)
        start = words[2] if len(words) == 3 and words[1] == "system" else ""
    if not start.startswith(_MARK):
        return False
    rest = start[len(_MARK) :].rstrip()
    return not rest.endswith(_MARK)


def _unmarked(text: str) -> str:
    """The message without the quotes around a block."""
    stripped = text.strip()
    if stripped.startswith(_MARK) and stripped.endswith(_MARK) and len(stripped) >= 2 * len(_MARK):
        return stripped[len(_MARK) : -len(_MARK)].strip("\n")
    return text
