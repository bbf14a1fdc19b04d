"""Messages as lines of JSON: how a worker and its tools answer on standard output."""

from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def to_line(message: Message) -> str:
    """The message as one line, without its end; fields have the names of the proto, those at zero are left out."""
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)


def from_line(kind: type[M], line: str | bytes) -> M:
    """The message of a line. Raises ValueError for what is not JSON of this kind of message."""
    try:
        return json_format.Parse(line, kind())
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error
