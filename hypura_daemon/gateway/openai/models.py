"""GET /v1/models and /v1/models/{id}: the registered models, for OpenAI's clients and Anthropic's alike."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from hypura_daemon.gateway.shapes import Told
from hypura_daemon.models.names import parse_name
from hypura_daemon.models.summaries import ModelSummary

_OWNER = "library"
_LATEST_SECONDS = 253402300799
"""The last second of the year 9999; a file's time may be anything."""


class ModelObject(Told):
    """A model; the last three are what Anthropic's clients read."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    type: Literal["model"] = "model"
    display_name: str
    created_at: str


class ModelList(Told):
    """All models, in one page."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


def model_object(summary: ModelSummary) -> ModelObject:
    """A model as both dialects know it."""
    created_seconds = int(min(max(summary.modified_seconds, 0), _LATEST_SECONDS))
    return ModelObject(
        id=summary.name,
        created=created_seconds,
        owned_by=parse_name(summary.name).namespace or _OWNER,
        display_name=summary.name,
        created_at=datetime.fromtimestamp(created_seconds, UTC).isoformat().replace("+00:00", "Z"),
    )


def model_list(summaries: Sequence[ModelSummary]) -> ModelList:
    """The usable models."""
    data = [model_object(summary) for summary in summaries if not summary.error]
    return ModelList(data=data, first_id=data[0].id if data else None, last_id=data[-1].id if data else None)
