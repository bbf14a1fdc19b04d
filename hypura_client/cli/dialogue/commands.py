"""The commands of a conversation, as Ollama has them: /bye, /set, /show, /load, /save, /clear, /help."""

import json
import shlex
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from hypura.sizes import size_text
from hypura_client.cli.dialogue.conversation import PARAMETERS, Conversation, set_parameter, set_parameters
from hypura_client.cli.output import note
from hypura_client.sync import Client

HELP = """\
Commands:
  /set …           Set the system message, a parameter, or how answers are shown
  /show …          Show the model, its template, or what is set
  /list            List the models
  /load MODEL      Load another model, and start a new conversation
  /save NAME       Create a model from this one, with its settings and the conversation
  /clear           Forget the messages so far
  /bye, /exit      End the conversation
  /?, /help        This help; see also /? set, /? show and /? shortcuts

Start a message of several lines with \"\"\", and end it with \"\"\"."""
HELP_SET = f"""\
  /set system TEXT             The system message; \"\"\" starts one of several lines
  /set parameter NAME VALUE    One of {", ".join(PARAMETERS)}
  /set format json             Answer in JSON; give a JSON schema instead of json to follow it
  /set noformat                Answer in any form
  /set think [LEVEL]           Think first; LEVEL is low, medium, high or max, for models that have levels
  /set nothink                 Do not think first
  /set verbose, /set quiet     Show statistics after each answer, or not
  /set history, /set nohistory Keep a history of what is typed, or not"""
HELP_SHOW = """\
  /show info          The model
  /show system        The system message
  /show template      The chat template
  /show parameters    The model's parameters, and those set in this conversation
  /show modelfile     A Modelfile that creates the model
  /show license       Its licence"""
HELP_SHORTCUTS = """\
  Ctrl-A, Ctrl-E      To the start or the end of the line
  Alt-B, Alt-F        A word back or forward
  Ctrl-K, Ctrl-U      Delete to the end or the start of the line
  Ctrl-W              Delete the word before
  Up, Down, Ctrl-R    Go through the history; search it
  Ctrl-L              Clear the screen
  Ctrl-C              End the answer, or clear the line; twice at an empty line, end the conversation
  Ctrl-D              End the conversation"""


class NextStep(Enum):
    """What the dialogue does after a command."""

    CONTINUE = "continue"
    END = "end"
    LOAD = "load"


class Commands:
    """Carries out commands on a conversation. verbose and keeps_history are settings of the dialogue around it."""

    def __init__(self, conversation: Conversation, *, verbose: bool) -> None:
        self._conversation = conversation
        self.verbose = verbose
        self.keeps_history = True
        self.wanted_model = ""
        """The model that LOAD asks for."""

    def carry_out(self, line: str, client: Callable[[], Client]) -> NextStep:
        """Carries out a command. Returns what the dialogue does next. Raises the errors of errors.py."""
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match name.lower():
            case "/bye" | "/exit" | "/quit":
                return NextStep.END
            case "/?" | "/help":
                topics = {"set": HELP_SET, "show": HELP_SHOW, "shortcuts": HELP_SHORTCUTS, "shortcut": HELP_SHORTCUTS}
                note(topics.get(rest.lower().removeprefix("/"), HELP))
            case "/clear":
                self._conversation.messages.clear()
                note("The messages so far are forgotten.")
            case "/set":
                self._set(rest)
            case "/show":
                self._show(rest.lower(), client)
            case "/list":
                note("\n".join(model.name for model in client().models().models) or "There are no models.")
            case "/load" if rest:
                self.wanted_model = rest
                return NextStep.LOAD
            case "/save" if rest:
                self._save(rest, client())
            case "/load" | "/save":
                note(f"{name} needs a name: {name} {'MODEL' if name == '/load' else 'NAME'}")
            case _:
                note(f"There is no command {name}; /? lists the commands. (A space before it sends it as a message.)")
        return NextStep.CONTINUE

    def _set(self, rest: str) -> None:
        what, _, value = rest.partition(" ")
        value, options = value.strip(), self._conversation.options
        match what.lower():
            case "system" if value:
                self._set_system(value.removeprefix('"""').removesuffix('"""') if value.startswith('"""') else value)
            case "parameter" if value:
                self._set_parameter(value)
            case "format" if value:
                self._set_format(value)
            case "noformat":
                options.limits.json_schema = ""
                note("Answers may have any form.")
            case "think":
                options.think, options.think_level = True, value
                note(f"The model thinks first{', ' + value if value else ''}, if it can.")
            case "nothink":
                options.think, options.think_level = False, ""
                note("The model does not think first.")
            case "verbose" | "quiet":
                self.verbose = what.lower() == "verbose"
                note("Statistics are shown after each answer." if self.verbose else "No statistics are shown.")
            case "history" | "nohistory":
                self.keeps_history = what.lower() == "history"
                note(f"What is typed is {'kept' if self.keeps_history else 'not kept'} in the history.")
            case "" | "system" | "parameter" | "format":
                note(HELP_SET)
            case _:
                note(f"There is no /set {what}; what can be set:\n{HELP_SET}")

    def _set_system(self, text: str) -> None:
        if not self._conversation.chats:
            note(f"error: {self._conversation.model} has no chat template, so it takes no system message")
            return
        self._conversation.system = text
        note("The system message is set.")

    def _set_parameter(self, given: str) -> None:
        try:
            name, *values = shlex.split(given)
            set_parameter(self._conversation.options, name.lower(), values)
        except ValueError as error:
            note(f"error: {error}")
        else:
            note(f"{name} is {', '.join(values)}.")

    def _set_format(self, given: str) -> None:
        schema = "{}" if given.lower() == "json" else given
        try:
            json.loads(schema)
        except ValueError:
            note(f"error: {given[:60]!r} is not a format; give json or a JSON schema")
            return
        self._conversation.options.limits.json_schema = schema
        note("Answers are in JSON." if schema == "{}" else "Answers follow the schema.")

    def _show(self, what: str, client: Callable[[], Client]) -> None:
        conversation = self._conversation
        if what not in ("info", "system", "template", "parameters", "modelfile", "license"):
            note(HELP_SHOW)
            return
        shown = client().show(conversation.model)
        if what == "info":
            summary = shown.model
            note(
                f"model          {summary.name}\narchitecture   {summary.architecture}\n"
                f"parameters     {summary.parameters / 1e9:.2f} billion\n"
                f"size           {size_text(summary.size_bytes)}\n"
                f"quantization   {summary.quantization}\ncontext        {shown.context_tokens} tokens\n"
                f"capabilities   {', '.join(shown.capabilities)}"
            )
        elif what == "system":
            note(conversation.system or shown.system or "There is no system message.")
        elif what == "template":
            note(shown.chat_template or "The model has no chat template.")
        elif what == "parameters":
            here = "\n".join(f"{name:<30} {value}" for name, value in set_parameters(conversation.options))
            note(f"The model's:\n{shown.parameters or 'none'}\nSet here:\n{here or 'none'}")
        elif what == "modelfile":
            note(shown.modelfile)
        else:
            note(shown.license or "The model has no licence text.")

    def _save(self, name: str, client: Client) -> None:
        try:
            modelfile = self._conversation.modelfile()
        except ValueError as error:
            note(f"error: {error}")
            return
        created = client.create(name, modelfile).model
        note(f"created {created.name} from this conversation")


def is_command(line: str) -> bool:
    """Whether a line is a command: a slash and a word, but not a path such as /home or /usr/share."""
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    if not line.startswith("/") or "/" in word[1:]:
        return False
    return len(word) < 2 or not _exists(word)


def _exists(word: str) -> bool:
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False
