"""Tools on offer and which of them must be called, as OpenAI's requests say it.

Chat completions nest a tool's fields in `function`, responses do not; either form is taken in both.
"""

import json
from typing import Any

from pydantic import Field

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked

WORDS = ("auto", "none", "required")


class Function(Asked):
    """A function's description."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Asked):
    """A tool on offer; only functions are taken."""

    type: str = "function"
    function: Function | None = None
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def flat(self) -> Function:
        """The function, wherever its fields are. Raises InvalidRequest."""
        if self.type != "function":
            raise InvalidRequest(f"tools has one of type {self.type[:40]!r}; only type function is supported")
        if self.function is not None:
            return self.function
        if self.name is None:
            raise InvalidRequest("tools has a function without a name")
        return Function(name=self.name, description=self.description, parameters=self.parameters)


class Named(Asked):
    """The name of a function."""

    name: str


class Allowed(Asked):
    """The tools that may be called, out of those on offer."""

    mode: str = "auto"
    tools: list[Tool] = Field(default_factory=list)


class Choice(Asked):
    """A choice that is more than a word."""

    type: str = "function"
    function: Named | None = None
    name: str | None = None
    allowed_tools: Allowed | None = None
    mode: str = "auto"
    tools: list[Tool] | None = None


class OfferedTools(Asked):
    """The fields of a request that concern tools."""

    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None

    def offer(self) -> tuple[str, str]:
        """tools_json and tool_choice of a ChatRequest. Raises InvalidRequest."""
        functions = [tool.flat() for tool in self.tools or ()]
        choice = self.tool_choice
        if isinstance(choice, Choice) and choice.type == "allowed_tools":
            allowed = choice.allowed_tools or Allowed(mode=choice.mode, tools=choice.tools or [])
            names = {tool.flat().name for tool in allowed.tools}
            functions = [function for function in functions if function.name in names]
            choice = allowed.mode
        word = _word(choice, [function.name for function in functions])
        return (json.dumps([_template_form(function) for function in functions]) if functions else ""), word


def _word(choice: str | Choice | None, names: list[str]) -> str:
    if isinstance(choice, Choice):
        if choice.type != "function":
            raise InvalidRequest(f"tool_choice has the type {choice.type[:40]!r}; give function, or a word")
        name = choice.function.name if choice.function else choice.name
        if name not in names:
            raise InvalidRequest(f"tool_choice names {name!r}, which is not among the tools; offer it in tools")
        return name
    if choice is not None and choice not in WORDS:
        raise InvalidRequest(f"tool_choice is {choice[:40]!r}; give one of {', '.join(WORDS)}, or a function")
    if choice == "required" and not names:
        raise InvalidRequest("tool_choice is required but tools is empty; offer at least one tool")
    return choice or ""


def _template_form(function: Function) -> dict[str, Any]:
    """Without the fields that were not given: templates write the tool down as it comes."""
    return {"type": "function", "function": function.model_dump(exclude={"strict"}, exclude_none=True)}
