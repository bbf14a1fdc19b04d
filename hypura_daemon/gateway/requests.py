"""What the requests of several dialects share: token limits, roles, and calls of tools."""

from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, Field

MAX_STOPS = 64
MOST_TOKENS = (1 << 31) - 1
NO_LOGPROBS = -1
_ROLES = ("system", "user", "assistant", "tool")
_ALIASES = {"developer": "system", "function": "tool"}
"""Few templates know a developer, and none a function."""

_log = structlog.get_logger()


def _not_zero(limit: int) -> int:
    if limit == 0:
        raise ValueError("give at least 1, or -1 for no limit")
    return limit


Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenLimit = Annotated[int, Field(ge=-MOST_TOKENS, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_zero)]
"""Negative is no limit, as in Ollama and llama-server."""


def token_limit(*given: int | None) -> int | None:
    """The first limit that was given, as the protos hold it; None for no limit."""
    said = next((limit for limit in given if limit is not None), None)
    return None if said is None or said < 0 else min(said, MOST_TOKENS)


def known_role(role: str) -> str:
    """The role as templates know it; what they know not speaks as the user: only some of them take a second system."""
    known = _ALIASES.get(role.lower(), role.lower())
    if known in _ROLES:
        return known
    _log.warning("a role that is not known is taken for the user's")  # It may hold what is content.
    return "user"


def called(call_id: str, name: str, arguments: str | dict[str, Any]) -> dict[str, Any]:
    """A call as one of ChatMessage.tool_calls."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
