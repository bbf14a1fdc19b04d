"""Modelfiles: parsed, and written for an existing model.

    FROM qwen3                 a model's name, or the absolute path of a GGUF file
    PARAMETER temperature 0.7
    TEMPLATE "{{ .Prompt }}"   in quotes, or in triple quotes for several lines
    SYSTEM "You are brief."
    MESSAGE user Hello.
    LICENSE MIT
    # a comment

Instructions may be in any case. Source: https://docs.ollama.com/modelfile
"""

import re
from dataclasses import dataclass

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.models.overrides import (
    MAX_MESSAGES,
    MAX_PARAMETERS,
    MAX_TEXT_CHARACTERS,
    Overrides,
    checked_pairs,
    style_of,
)

MAX_MODELFILE_CHARACTERS = 4 << 20
ROLES = ("system", "user", "assistant")
_OLLAMA_ONLY = ("renderer", "parser", "requires")
_KNOWN = ("from", "parameter", "template", "system", "message", "license", "adapter", "draft", *_OLLAMA_ONLY)
_WORD = re.compile(r"[^\s]+")
_MARKS = '"""', '"'


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A parsed Modelfile: the model it builds on, and what it overrides."""

    base: str
    overrides: Overrides


@dataclass(frozen=True, slots=True)
class _Instruction:
    name: str
    word: str  # The parameter's name, or the message's role.
    value: str
    line: int


def parse_modelfile(text: str) -> Modelfile:
    """Parse a Modelfile. Raises InvalidRequest, with the line."""
    if len(text) > MAX_MODELFILE_CHARACTERS:
        raise InvalidRequest(f"the Modelfile has {len(text)} characters; {MAX_MODELFILE_CHARACTERS} are allowed")
    base = template = system = ""
    parameters: list[tuple[str, str]] = []
    messages: list[tuple[str, str]] = []
    licenses: list[str] = []
    for item in _instructions(text.removeprefix("\ufeff")):
        match item.name:
            case "from":
                if base:
                    raise _bad(item.line, "it has a second FROM; a model is created from one")
                base = item.value
            case "template":
                template = item.value
            case "system":
                system = item.value
            case "parameter":
                parameters += _checked(item)
            case "message":
                messages.append((item.word.lower(), item.value))
            case "license":
                licenses.append(item.value)
            case "adapter":
                raise _bad(item.line, "ADAPTER (LoRA) is not supported; merge it into the model and use that")
            case "draft":
                raise _bad(item.line, "DRAFT is not supported; leave it out")
    if not base:
        raise InvalidRequest("the Modelfile has no FROM line; begin it with one, such as: FROM qwen3")
    return Modelfile(base, make_overrides(template, system, parameters, messages, "\n".join(licenses)))


def make_overrides(
    template: str,
    system: str,
    parameters: list[tuple[str, str]] | tuple[tuple[str, str], ...],
    messages: list[tuple[str, str]],
    license: str,
) -> Overrides:
    """Overrides, with their sizes and roles checked. Raises InvalidRequest."""
    for what, text in (("template", template), ("system message", system), ("licence", license)):
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidRequest(f"the {what} has {len(text)} characters; {MAX_TEXT_CHARACTERS} are allowed")
    if len(parameters) > MAX_PARAMETERS or len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"at most {MAX_PARAMETERS} parameters and {MAX_MESSAGES} messages are allowed; give fewer")
    if sum(len(content) for _, content in messages) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(f"the messages have more than {MAX_TEXT_CHARACTERS} characters; give fewer")
    for role, _ in messages:
        if role not in ROLES:
            raise InvalidRequest(f"a message has the role {role[:40]!r}; give one of {', '.join(ROLES)}")
    return Overrides(template, style_of(template), system, tuple(parameters), tuple(messages), license)


def modelfile_text(name: str, base: str, overrides: Overrides) -> str:
    """A Modelfile that creates the same model; `base` is what its FROM names."""
    lines = [
        '# Modelfile of a model, written by "hypuractl show".',
        "# To build another on it, replace the FROM line by:",
        f"# FROM {name}",
        "",
        f"FROM {base}",
    ]
    if overrides.template:
        lines.append(f"TEMPLATE {_in_marks(overrides.template, always=True)}")
    if overrides.system:
        lines.append(f"SYSTEM {_in_marks(overrides.system, always=True)}")
    lines += [f"PARAMETER {key} {_in_marks(value)}" for key, value in overrides.parameters]
    lines += [f"MESSAGE {role} {_in_marks(content)}" for role, content in overrides.messages]
    if overrides.license:
        lines.append(f"LICENSE {_in_marks(overrides.license, always=True)}")
    return "\n".join(lines) + "\n"


def _instructions(text: str) -> list[_Instruction]:
    lines = text.replace("\r\n", "\n").split("\n")
    found: list[_Instruction] = []
    at = 0
    while at < len(lines):
        line, number = lines[at].strip(), at + 1
        at += 1
        if not line or line.startswith("#"):
            continue
        name, rest = _cut(line)
        if name.lower() not in _KNOWN:
            known = ", ".join(word.upper() for word in _KNOWN[:6])
            raise _bad(number, f"{name[:40]!r} is not an instruction; the instructions are {known}")
        word = ""
        if name.lower() in ("parameter", "message"):
            word, rest = _cut(rest)
        if name.lower() == "message" and word.lower() not in ROLES:
            raise _bad(number, f"the role of a message is {word[:40]!r}; give one of {', '.join(ROLES)}")
        if rest[:1] == '"':
            # White space before a closing quote and at the ends of lines belongs to the text.
            start = lines[number - 1].index(rest[0], lines[number - 1].index(name) + len(name) + len(word))
            value, at = _closed(lines, at, lines[number - 1][start:], number)
        else:
            value = rest
        if not value and not rest:
            raise _bad(number, f"{name.upper()} has no value; give one after it")
        found.append(_Instruction(name.lower(), word, value, number))
    return found


def _closed(lines: list[str], at: int, first: str, number: int) -> tuple[str, int]:
    """The quoted text that begins with `first`, and the next line's number. A quote at a line's end closes it."""
    mark = next(mark for mark in _MARKS if first.startswith(mark))
    pieces, line = [first], first
    while not (line.rstrip().endswith(mark) and (len(pieces) > 1 or len(line.rstrip()) >= 2 * len(mark))):
        if at >= len(lines):
            raise _bad(number, f"the text that begins with {first[:40]!r} is not closed; end it with {mark}")
        line = lines[at]
        pieces.append(line)
        at += 1
    return "\n".join(pieces).rstrip()[len(mark) : -len(mark)], at


def _cut(line: str) -> tuple[str, str]:
    """The first word, and the rest without the blanks between them."""
    match = _WORD.match(line)
    word = match[0] if match else ""
    return word, line[len(word) :].strip()


def _checked(item: _Instruction) -> tuple[tuple[str, str], ...]:
    try:
        return checked_pairs([(item.word.lower(), item.value)])
    except InvalidRequest as error:
        raise _bad(item.line, str(error)) from error


def _in_marks(text: str, *, always: bool = False) -> str:
    """The text in quotation marks, which a text on one line does without unless `always`. There are no escapes."""
    if "\n" in text or '"' in text:
        return f'"""{text}"""'
    return f'"{text}"' if always or not text or text != text.strip() else text


def _bad(line: int, why: str) -> InvalidRequest:
    return InvalidRequest(f"line {line} of the Modelfile: {why}")
