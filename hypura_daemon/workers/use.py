"""How a request wants its model held."""

import math
from dataclasses import dataclass

from hypura_daemon.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Use:
    """keep_alive_seconds: how long the model stays after its last request; 0 unloads it then, negative is for
    ever, None leaves it as it is set. context_tokens: what the request needs at least; 0 for whatever is loaded.
    Raises InvalidRequest for what is no time, or no context.
    """

    keep_alive_seconds: float | None = None
    context_tokens: int = 0

    def __post_init__(self) -> None:
        if self.keep_alive_seconds is not None and math.isnan(self.keep_alive_seconds):
            raise InvalidRequest("a keep-alive of NaN seconds is not possible; give seconds, or a negative number")
        if self.context_tokens < 0:
            raise InvalidRequest(f"a context of {self.context_tokens} tokens is not possible; give 0 or more")


AS_IT_IS = Use()
"""Whatever is loaded, and kept as it is set."""
