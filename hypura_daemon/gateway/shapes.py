"""What all JSON shapes of the gateway share."""

from pydantic import BaseModel, ConfigDict, Field

WHEN_SAID = Field(exclude_if=lambda value: value is None)
"""For a field that is left out when it is None; others are told as null."""


class Asked(BaseModel):
    """What clients send: unknown fields are passed over, types are taken at their word ("5" is no number)."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class Told(BaseModel):
    """What hypura sends."""

    model_config = ConfigDict(extra="forbid")

    def ascii_json(self) -> str:
        """For a line of a stream: clients that split by str.splitlines break at U+2028 and its like."""
        return self.model_dump_json(ensure_ascii=True)
