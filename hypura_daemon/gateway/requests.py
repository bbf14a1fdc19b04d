"""What the requests of several dialects share: ranges of parameters, token limits, roles, and calls of tools."""

from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, Field

from hypura_daemon.errors import InvalidRequest

MAX_STOPS = 64
MAX_TOKENS = (1 << 31) - 1
NO_LOGPROBS = -1
_ROLES = ("system", "user", "assistant", "tool")
_ALIASES = {"developer": "system", "function": "tool"}
"""Few templates know the role developer, and none the role function."""

_log = structlog.get_logger()


def _not_zero(limit: int) -> int:
    if limit == 0:
        raise ValueError("give at least 1, or -1 for no limit")
    return limit


Temperature = Annotated[float, Field(ge=0, le=2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenLimit = Annotated[int, Field(ge=-MAX_TOKENS, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_zero)]
"""A negative one is no limit, as in Ollama and llama-server."""


def token_limit(*given: int | None) -> int | None:
    """The first limit that is not None, as the protos hold it; None for no limit."""
    limit = next((limit for limit in given if limit is not None), None)
    return None if limit is None or limit < 0 else min(limit, MAX_TOKENS)


def stop_strings(given: str | list[str] | None, field: str) -> list[str]:
    """The strings that end an answer, without empty ones; field: the request's, for errors. Raises InvalidRequest."""
    strings = [text for text in ([given] if isinstance(given, str) else given or ()) if text]
    if len(strings) > MAX_STOPS:
        raise InvalidRequest(f"{field} has {len(strings)} strings; give at most {MAX_STOPS}")
    return strings


def known_role(role: str) -> str:
    """The role as templates know it; an unknown one becomes user, since few templates take a second system message."""
    known = _ALIASES.get(role.lower(), role.lower())
    if known in _ROLES:
        return known
    _log.warning("an unknown role is taken for user")  # Not logged: the role itself, which may hold content.
    return "user"


def called(call_id: str, name: str, arguments: str | dict[str, Any]) -> dict[str, Any]:
    """A tool call as ChatMessage.tool_calls has it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
