"""Tools on offer and which of them must be called, as OpenAI's requests say it.

Chat completions nest a tool's fields in `function`, responses do not; either form is taken in both. Tools that are no
functions are not offered to the model: nobody here runs a web search, and no model here knows them.
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
    """A function's description; namespace: of the group that it came in, empty for none. own_name: what it is called
    there, where the model is told another name since that is taken.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    namespace: str = Field(default="", exclude=True)
    own_name: str = Field(default="", exclude=True)


class Tool(RequestShape):
    """A tool on offer, or a namespace: functions in a group that has a name."""

    type: str = "function"
    function: Function | None = None
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    tools: list["Tool"] | None = None

    def functions(self, namespace: str = "") -> Iterator[Function]:
        """The functions in it; none for what is no function. Raises InvalidRequest."""
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
    """The tools that may be called, out of those on offer."""

    mode: str = "auto"
    tools: list[Tool] = Field(default_factory=list)


class Choice(RequestShape):
    """A choice that is more than a word."""

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
        """The functions that the model is told of, each name once. Raises InvalidRequest."""
        return list(_functions(self.tools or ()).values())

    def offer(self) -> tuple[list[dict[str, Any]], str]:
        """tools and tool_choice of a ChatRequest. Raises InvalidRequest."""
        functions, choice = self.offered(), self.tool_choice
        passed_over = sorted({tool.type[:40] for tool in self.tools or () if not list(tool.functions())})
        if passed_over:
            _log.warning("tools that are no functions are not offered to the model", types=passed_over)
        if isinstance(choice, Choice) and choice.type == "allowed_tools":
            allowed = choice.allowed_tools or Allowed(mode=choice.mode, tools=choice.tools or [])
            names = _functions(allowed.tools)
            functions = [function for function in functions if function.name in names]
            choice = allowed.mode
        word = _word(choice, [function.name for function in functions], passed_over=bool(passed_over))
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


def _word(choice: str | Choice | None, names: list[str], *, passed_over: bool) -> str:
    if isinstance(choice, Choice):
        name = choice.function.name if choice.function else choice.name
        if choice.type != "function" or name is None:
            _log.warning("a tool_choice that is not known is taken for auto", type=choice.type[:40])
            return "auto"
        if name not in names:
            raise InvalidRequest(f"tool_choice names {name!r}, which is not among the tools; offer it in tools")
        return name
    word = _ALIASES.get(choice or "", choice or "")
    if word and word not in WORDS:
        raise InvalidRequest(f"tool_choice is {word[:40]!r}; give one of {', '.join(WORDS)}, or a function")
    if word == "required" and not names:
        if passed_over:
            return "auto"
        raise InvalidRequest("tool_choice is required but tools is empty; offer at least one tool")
    return word


def _template_form(function: Function) -> dict[str, Any]:
    """Without the fields that were not given: templates write the tool down as it comes."""
    return {"type": "function", "function": function.model_dump(exclude={"strict"}, exclude_none=True)}
