"""The tree of a Go template, and what can be found in it without rendering."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Any


@dataclass(frozen=True, slots=True)
class Access:
    """Fields of the dot (root None), of a variable (root is its name) or of a pipeline."""

    root: "str | Pipeline | None"
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name."""

    name: str


Operand = Literal | Access | Function


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each with the result of the one before as its last argument; the variables get the last result."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """A pipeline whose value is written, unless it is assigned to a variable."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """if, with, range: the body for the pipeline's value, and the else branch."""

    kind: str
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Use:
    """{{ template "name" pipeline }}."""

    name: str
    pipeline: Pipeline | None


@dataclass(frozen=True, slots=True)
class Jump:
    """break or continue."""

    kind: str


Node = Text | Show | Branch | Use | Jump


@dataclass(frozen=True, slots=True)
class Template:
    """The tree, and the named templates that it defines."""

    body: tuple[Node, ...]
    defined: dict[str, tuple[Node, ...]]


def identifiers(template: Template) -> frozenset[str]:
    """The fields and variables that a template uses, in lower case."""
    found: set[str] = set()
    for nodes in (template.body, *template.defined.values()):
        _collect(nodes, found)
    return frozenset(found)


def until_field(nodes: Sequence[Node], field: str) -> tuple[Node, ...]:
    """The nodes up to and including the first that writes `field`."""
    return _until(nodes, field)[0]


def _until(nodes: Sequence[Node], field: str) -> tuple[tuple[Node, ...], bool]:
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Branch):
            body, cut = _until(node.body, field)
            otherwise, cut_there = ((), True) if cut else _until(node.otherwise, field)
            kept.append(Branch(node.kind, node.pipeline, body, otherwise))
            if cut or cut_there:
                return tuple(kept), True
            continue
        kept.append(node)
        if isinstance(node, Show) and field in _fields(node.pipeline):
            return tuple(kept), True
    return tuple(kept), False


def _fields(pipeline: Pipeline) -> set[str]:
    found: set[str] = set()
    for operand in (operand for command in pipeline.commands for operand in command):
        if isinstance(operand, Access):
            found.update(operand.fields)
            if isinstance(operand.root, Pipeline):
                found |= _fields(operand.root)
            elif operand.root:
                found.add(operand.root)
    return found


def _collect(nodes: Sequence[Node], found: set[str]) -> None:
    for node in nodes:
        pipeline = getattr(node, "pipeline", None)
        if pipeline is not None:
            found.update(name.lower() for name in _fields(pipeline))
        if isinstance(node, Branch):
            _collect(node.body, found)
            _collect(node.otherwise, found)
