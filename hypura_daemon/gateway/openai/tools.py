"""The tools that OpenAI's requests offer, and which of them must be called.

Chat completions nest a tool's fields in `function`, responses do not; both take either form. Tools other than functions
are not offered to the model: hypura runs no web search, and its models do not know such tools.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import structlog
from pydantic import Field

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import RequestShape

WORDS = ("auto", "none", "required")
_ALIASES = {"any": "required"}  # Mistral's word.

_log = structlog.get_logger()


class Function(RequestShape):
    """A function's description. namespace: the group that it is in, empty for none; own_name: its name in that group,
    where the model gets another since two groups have that name.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    namespace: str = Field(default="", exclude=True)
    own_name: str = Field(default="", exclude=True)


class Tool(RequestShape):
    """A tool on offer, or a namespace: a named group of functions."""

    type: str = "function"
    function: Function | None = None
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    tools: list["Tool"] | None = None

    def functions(self, namespace: str = "") -> Iterator[Function]:
        """The functions of the tool; none for other kinds of tools. Raises InvalidRequest."""
        if self.type == "namespace":
            for tool in self.tools or ():
                yield from tool.functions(self.name or "")
        elif self.type == "function":
            if self.function is None and self.name is None:
                raise InvalidRequest("tools has a function without a name")
            given = self.function or Function(
                name=self.name or "", description=self.description, parameters=self.parameters
            )
            yield given.model_copy(update={"namespace": namespace})


class Named(RequestShape):
    """The name of a function."""

    name: str | None = None


class Allowed(RequestShape):
    """Which of the tools on offer may be called."""

    mode: str = "auto"
    tools: list[Tool] = Field(default_factory=list)


class Choice(RequestShape):
    """A choice that names tools."""

    type: str = "function"
    function: Named | None = None
    name: str | None = None
    allowed_tools: Allowed | None = None
    mode: str = "auto"
    tools: list[Tool] | None = None


class OfferedTools(RequestShape):
    """The fields of a request that concern tools."""

    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None

    def offered(self) -> list[Function]:
        """The functions that are offered to the model, each name once. Raises InvalidRequest."""
        return list(_functions(self.tools or ()).values())

    def offer(self) -> tuple[list[dict[str, Any]], str]:
        """tools and tool_choice of a ChatRequest. Raises InvalidRequest."""
        functions, choice = self.offered(), self.tool_choice
        left_out = sorted({tool.type[:40] for tool in self.tools or () if not list(tool.functions())})
        if left_out:
            _log.warning("tools other than functions are not offered to the model", types=left_out)
        if isinstance(choice, Choice) and choice.type == "allowed_tools":
            allowed = choice.allowed_tools or Allowed(mode=choice.mode, tools=choice.tools or [])
            names = _functions(allowed.tools)
            functions = [function for function in functions if function.name in names]
            choice = allowed.mode
        word = _word(choice, [function.name for function in functions], left_out=bool(left_out))
        return [_template_form(function) for function in functions], word


def _functions(tools: Iterable[Tool]) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for tool in tools:
        for function in tool.functions():
            name = function.name
            if name in found and function.namespace not in ("", found[name].namespace):
                name = f"{function.namespace}__{name}"
            found.setdefault(name, function.model_copy(update={"name": name, "own_name": function.name}))
    return found


def _word(choice: str | Choice | None, names: list[str], *, left_out: bool) -> str:
    if isinstance(choice, Choice):
        name = choice.function.name if choice.function else choice.name
        if choice.type != "function" or name is None:
            _log.warning("an unknown tool_choice is taken for auto", type=choice.type[:40])
            return "auto"
        if name not in names:
            raise InvalidRequest(f"tool_choice names {name!r}, which is not among the tools; offer it in tools")
        return name
    word = _ALIASES.get(choice or "", choice or "")
    if word and word not in WORDS:
        raise InvalidRequest(f"tool_choice is {word[:40]!r}; give one of {', '.join(WORDS)}, or a function")
    if word == "required" and not names:
        if left_out:
            return "auto"
        raise InvalidRequest("tool_choice is required but tools is empty; offer at least one tool")
    return word


def _template_form(function: Function) -> dict[str, Any]:
    """The function as templates take it. Fields that were left out stay out: templates write the tool as it is."""
    return {"type": "function", "function": function.model_dump(exclude={"strict"}, exclude_none=True)}
