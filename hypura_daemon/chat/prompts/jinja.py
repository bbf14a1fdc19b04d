"""Renders a model's jinja chat template.

A template is code that came with the model, so it runs in jinja2's immutable sandbox, with limits on its source, its
output, its ranges, the size of what `*`, `**` and `%` make, and its time: a trace function ends any template after its
deadline, even a loop without output. Memory and single long calls of C are bounded by the process in which this runs:
see renderer.py.

Names and filters are those of Hugging Face transformers, for which templates are written:
https://huggingface.co/docs/transformers/chat_templating_writing
"""

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jinja2
from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hypura_daemon.chat.prompts.needs import TemplateBroken
from hypura_daemon.errors import InvalidRequest

MAX_TEMPLATE_CHARACTERS = 1 << 18
MAX_OUTPUT_CHARACTERS = 1 << 25
MAX_PRODUCT = 1 << 20
MAX_INTEGER_BITS = 4096
RENDER_SECONDS = 5.0
_TEMPLATE_FILE = "<template>"
_JINJA = str(Path(jinja2.__file__).parent)


class TemplateTooSlow(TemplateError):
    """The template ran past its deadline."""


class _Refused(TemplateError):
    """The template itself refuses the conversation."""


class _DeadlinePassed(BaseException):
    """Ends the template from within. Seen: jinja2 ignores any Exception while it folds constants, and Python removes a
    trace function once it has raised, so that an ordinary error was lost and the template ran for minutes."""


class _Generation(Extension):
    """`{% generation %}` marks the assistant's part for training; here only its body is rendered."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, with operators that cannot make huge values."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise TemplateError("% on strings is not supported")
        if operator == "*":
            for value, count in ((left, right), (right, left)):
                if hasattr(value, "__len__") and isinstance(count, int) and len(value) * count > MAX_PRODUCT:
                    raise TemplateError(f"a product is longer than {MAX_PRODUCT}")
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length() if operator == "*" else left.bit_length() * right
            if bits > MAX_INTEGER_BITS:
                raise TemplateError(f"{operator} makes a number of more than {MAX_INTEGER_BITS} bits")
        return super().call_binop(context, operator, left, right)


def _raise_exception(message: str) -> NoReturn:
    raise _Refused(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _environment() -> Environment:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, autoescape=False, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    # They make text of any length from short input, and no chat template needs them.
    del environment.filters["center"], environment.globals["lipsum"]
    return environment


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


def _with_deadline(deadline: float, work: Callable[[], str]) -> str:
    """Runs `work`, and raises TemplateTooSlow in it after `deadline` (monotonic seconds).

    A trace function is called for every line of the template and every Python call that it makes, so that it ends every
    loop; it works in any thread.
    """

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > deadline and not _may_be_swallowed(frame, event):
            raise _DeadlinePassed
        return trace if frame.f_code.co_filename == _TEMPLATE_FILE else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work()
    except _DeadlinePassed:
        raise TemplateTooSlow(f"it ran longer than {RENDER_SECONDS:g} seconds") from None
    finally:
        sys.settrace(before)


def _may_be_swallowed(frame: FrameType, event: str) -> bool:
    """Whether an exception in this frame may be lost, which would also end the tracing.

    That is so in a generator that is being closed, and in what Python runs in between: finalizers, callbacks of weak
    references and of the garbage collector. They cannot all be listed, so the exception is raised only in the code of
    the template, of jinja2 and of this module. Seen: the collector closed a channel of gRPC, which took the exception
    for its own.
    """
    if not frame.f_code.co_filename.startswith((_TEMPLATE_FILE, _JINJA, __file__)):
        return True
    if event == "call" and frame.f_code.co_flags & inspect.CO_GENERATOR:
        return True
    within: FrameType | None = frame
    while within is not None:
        if within.f_code.co_name == "__del__":
            return True
        within = within.f_back
    return False


def _joined(pieces: Iterator[str]) -> str:
    kept: list[str] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_OUTPUT_CHARACTERS:
            raise TemplateError(f"its output is longer than {MAX_OUTPUT_CHARACTERS} characters")
        kept.append(piece)
    return "".join(kept)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    think: bool | None = None,
    level: str = "",
    bos: str = "",
    eos: str = "",
    add_generation_prompt: bool = True,
) -> str:
    """The prompt for a conversation; think=None and level="" (how hard) leave these to the template.

    Raises InvalidRequest with the template's own message, TemplateBroken where it fails by itself. Takes up to
    RENDER_SECONDS, so call it outside the event loop.
    """
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateBroken(
            f"the model's chat template has {len(template)} characters, more than the "
            f"{MAX_TEMPLATE_CHARACTERS} that are rendered; use Generate with a prompt of your own"
        )
    variables: dict[str, Any] = {
        "messages": [dict(message) for message in messages],
        "tools": [dict(tool) for tool in tools] or None,
        "documents": None,
        "bos_token": bos,
        "eos_token": eos,
        "add_generation_prompt": add_generation_prompt,
    }
    if think is not None:
        variables["enable_thinking"] = think
        variables["thinking"] = think
    if level:
        variables["reasoning_effort"] = level

    def work() -> str:
        return _joined(_compiled(template).generate(variables))

    try:
        return _with_deadline(time.monotonic() + RENDER_SECONDS, work)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateBroken(_broken(error)) from error
    except TemplateError as error:
        kind = InvalidRequest if isinstance(error, _Refused | TemplateTooSlow) else TemplateBroken
        raise kind(f"the model's chat template refused this conversation: {error}") from error
    except Exception as error:  # Any exception of a template is an error of the template.
        raise TemplateBroken(
            f"the model's chat template failed on this conversation: {type(error).__name__}: {error}"
        ) from error


def check_syntax(template: str) -> None:
    """Parse a template without running it. Raises InvalidRequest for a syntax error."""
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise InvalidRequest(
            f"the chat template has {len(template)} characters; {MAX_TEMPLATE_CHARACTERS} are allowed, make it shorter"
        )
    try:
        _environment().parse(template)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidRequest(_broken(error)) from error
    except RecursionError as error:
        raise InvalidRequest("the chat template is nested too deep; correct its TEMPLATE") from error


def _broken(error: jinja2.TemplateSyntaxError) -> str:
    return (
        f"the model's chat template has a syntax error in line {error.lineno}: {error.message}; "
        "correct it, or give the model another by TEMPLATE in a Modelfile (hypuractl create)"
    )
