"""Interprets templates of Go's text/template language, in which Ollama's models have their prompts.

A template is code that came with a model: it reaches only the data that it is given, and its size, depth, steps,
output and time are bounded. Templates may use Go's names of fields (.ToolCalls) for JSON's in the data (tool_calls).
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hypura_daemon.chat.go.functions import FUNCTIONS, MAX_TEXT_CHARACTERS, is_true, shown
from hypura_daemon.chat.go.nodes import (
    Access,
    Branch,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipeline,
    Show,
    Template,
    Text,
    Use,
    identifiers,
    until_field,
)
from hypura_daemon.chat.go.syntax import parse
from hypura_daemon.errors import InvalidRequest

MAX_OUTPUT_CHARACTERS = 1 << 25
MAX_STEPS = 1_000_000
MAX_DEPTH = 80
MAX_RANGE = 100_000
RENDER_SECONDS = 5.0
_TEXT_STEP_CHARACTERS = 256
"""So many characters of a function's text count as one more step."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z][a-z])")


def render_go(template: str, data: Mapping[str, Any], *, until_response: bool = False) -> str:
    """The template's text for the data.

    until_response: stop after the first action that writes .Response, as for the turn that the model is to answer.
    Raises InvalidRequest. Takes up to RENDER_SECONDS, so call it outside the event loop.
    """
    try:
        tree = parse(template)
        body = until_field(tree.body, "Response") if until_response else tree.body
        return _Run(tree, data).rendered(body)
    except (ValueError, ArithmeticError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"the model's template failed: {error}; correct its TEMPLATE") from error


def go_identifiers(template: str) -> frozenset[str]:
    """The fields and variables that a template uses, in lower case: messages, response, tools, think …

    Raises InvalidRequest for a syntax error.
    """
    try:
        return identifiers(parse(template))
    except ValueError as error:
        raise InvalidRequest(f"the template is not usable: {error}; correct its TEMPLATE") from error


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """One rendering: the output so far, the variables, and what counts towards the limits."""

    def __init__(self, tree: Template, data: Mapping[str, Any]) -> None:
        self._tree = tree
        self._data = data
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._output: list[str] = []
        self._length = 0
        self._steps = 0
        self._depth = 0
        self._deadline = time.monotonic() + RENDER_SECONDS

    def rendered(self, body: Sequence[Node]) -> str:
        self._nodes(body, self._data)
        return "".join(self._output)

    def _nodes(self, nodes: Iterable[Node], dot: Any) -> None:
        for node in nodes:
            self._step()
            match node:
                case Text(text):
                    self._write(text)
                case Show(pipeline):
                    value = self._pipeline(pipeline, dot)
                    if not pipeline.variables:
                        self._write(shown(value))
                case Branch():
                    self._deeper()
                    self._branch(node, dot)
                    self._depth -= 1
                case Use():
                    self._use(node, dot)
                case Jump(kind):
                    raise _Break if kind == "break" else _Continue

    def _branch(self, node: Branch, dot: Any) -> None:
        kept = len(self._variables)
        if node.kind == "range":
            self._range(node, dot)
        else:
            value = self._pipeline(node.pipeline, dot)
            within = value if node.kind == "with" and is_true(value) else dot
            self._nodes(node.body if is_true(value) else node.otherwise, within)
        del self._variables[kept:]

    def _range(self, node: Branch, dot: Any) -> None:
        names, declares = node.pipeline.variables, node.pipeline.declares
        value = self._value(node.pipeline, dot)
        kept, depth, empty = len(self._variables), self._depth, True
        for key, element in _elements(value):
            empty = False
            self._step()
            given = zip(names, (element,) if len(names) == 1 else (key, element), strict=False)
            for name, content in given:
                self._assign(name, content, declares=declares)
            try:
                self._nodes(node.body, element)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                self._depth = depth
                del self._variables[kept:]
        if empty:
            self._nodes(node.otherwise, dot)

    def _use(self, node: Use, dot: Any) -> None:
        body = self._tree.defined.get(node.name)
        if body is None:
            raise ValueError(f"there is no template {node.name[:80]!r}")
        self._deeper()
        data = self._pipeline(node.pipeline, dot) if node.pipeline else None
        outer, self._variables = self._variables, [("$", data)]
        self._nodes(body, data)
        self._variables = outer
        self._depth -= 1

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value = self._value(pipeline, dot)
        for name in pipeline.variables:
            self._assign(name, value, declares=pipeline.declares)
        return value

    def _value(self, pipeline: Pipeline, dot: Any) -> Any:
        before: tuple[Any, ...] = ()
        for command in pipeline.commands:
            before = (self._command(command, dot, before),)
        return before[0]

    def _command(self, command: Sequence[Operand], dot: Any, before: tuple[Any, ...]) -> Any:
        self._step()
        first, *operands = command
        if not isinstance(first, Function):
            if operands or before:
                raise ValueError("a value that is not a function has arguments")
            return self._operand(first, dot)
        if first.name in ("and", "or"):
            return self._until(first.name == "or", operands, dot, before)
        function = FUNCTIONS.get(first.name)
        if function is None:
            raise ValueError(f"unknown function {first.name[:80]!r}")
        value = function(*(self._operand(operand, dot) for operand in operands), *before)
        if isinstance(value, str):
            self._step(len(value) // _TEXT_STEP_CHARACTERS)
            if len(value) > MAX_TEXT_CHARACTERS:
                raise ValueError(f"a text is longer than {MAX_TEXT_CHARACTERS} characters")
        return value

    def _until(self, wanted: bool, operands: Sequence[Operand], dot: Any, before: tuple[Any, ...]) -> Any:
        """The first value whose truth is `wanted`, else the last value."""
        value: Any = None
        for operand in operands:
            value = self._operand(operand, dot)
            if is_true(value) is wanted:
                return value
        return before[0] if before else value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Literal(value):
                return value
            case Function():
                return self._command((operand,), dot, ())
            case Access(root, fields):
                value = self._root(root, dot)
                for field in fields:
                    self._step()
                    value = _field(value, field)
                return value

    def _root(self, root: str | Pipeline | None, dot: Any) -> Any:
        if root is None:
            return dot
        if isinstance(root, Pipeline):
            self._deeper()
            value = self._pipeline(root, dot)
            self._depth -= 1
            return value
        for name, value in reversed(self._variables):
            if name == root:
                return value
        raise ValueError(f"the variable {root[:80]} is not declared")

    def _assign(self, name: str, value: Any, *, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for number in range(len(self._variables) - 1, -1, -1):
            if self._variables[number][0] == name:
                self._variables[number] = (name, value)
                return
        raise ValueError(f"the variable {name[:80]} is not declared")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_OUTPUT_CHARACTERS:
            raise ValueError(f"its output is longer than {MAX_OUTPUT_CHARACTERS} characters")
        self._output.append(text)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise ValueError(f"it takes more than {MAX_STEPS} steps")
        if time.monotonic() > self._deadline:
            raise ValueError(f"it runs longer than {RENDER_SECONDS:g} seconds")


def _field(value: Any, field: str) -> Any:
    """A field by its own name or by JSON's spelling of it; None if there is none."""
    if not isinstance(value, Mapping):
        return None
    for name in (field, _CAPITAL.sub(r"_\1\2", field).lower(), field.lower()):
        if name in value:
            return value[name]
    return None


def _elements(value: Any) -> Iterator[tuple[Any, Any]]:
    """Keys and elements; those of an object in the order of the keys, as in Go."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int):
        if value > MAX_RANGE:
            raise ValueError(f"range {value} is more than {MAX_RANGE}")
        yield from ((number, number) for number in range(value))
    elif isinstance(value, Mapping):
        yield from ((key, value[key]) for key in sorted(value, key=str))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from enumerate(value)
    else:
        raise ValueError("range takes only lists, objects and numbers")
