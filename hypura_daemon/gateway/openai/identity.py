"""What names an answer in everything that is told of it."""

import time
from dataclasses import dataclass

from hypura_daemon.gateway.ids import new_id


@dataclass(frozen=True, slots=True)
class Identity:
    """id, the model as the client named it, and when it was asked."""

    id: str
    model: str
    created: int


def new_identity(prefix: str, model: str) -> Identity:
    """A new one, now."""
    return Identity(new_id(prefix), model, int(time.time()))
