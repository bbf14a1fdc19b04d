"""Requests that name one model: as `model`, or as `name` in older clients."""

from hypura_daemon.errors import InvalidRequest
from hypura_daemon.gateway.shapes import Asked


class Named(Asked):
    """A request about one model."""

    model: str = ""
    name: str = ""

    def wanted(self) -> str:
        """The model's name. Raises InvalidRequest if there is none."""
        name = self.model or self.name
        if not name:
            raise InvalidRequest("model is required")
        return name
