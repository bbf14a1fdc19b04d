"""What goes to stdout and stderr: one JSON object, or tables for people."""

import base64
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hypura.v1 import placement_pb2 as placement
from hypura_client.cli.stdio import can_encode

PIPE_COLUMNS = 200

# The fields of --json are a contract with other people's scripts: where the protos name a field better than they did
# when a command first printed it, the command keeps the earlier name.
_PRINTED_NAMES = {
    "hypura.v1.DaemonStatus.planned_bytes": "memory_planned_bytes",
    "hypura.v1.DensePlan.max_kept_bytes": "most_kept_bytes",
    "hypura.v1.ExpertGroup.max_slots": "most_slots",
    "hypura.v1.HardwareProfile.container_limit_bytes": "memory_limit_bytes",
    "hypura.v1.LoadedModel.max_memory_limit_bytes": "most_memory_bytes",
    "hypura.v1.LoadedModel.min_memory_limit_bytes": "least_memory_bytes",
    "hypura.v1.ModelStatus.memory_limit_bytes": "memory_bytes",
    "hypura.v1.WorkerStatisticsResponse.prefetched_bytes": "ahead_bytes",
    "hypura.v1.WorkerStatisticsResponse.prefetched_used_bytes": "ahead_used_bytes",
}

_NOT_PRINTED = {"hypura.v1.MemoryItem.kind"}  # Its name is printed.

# Text from a model or a file must not steer the terminal: control characters but tab and newline.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def safe(text: str) -> str:
    """The text without terminal control characters."""
    return text.translate(_CONTROLS)


def print_json(value: dict[str, Any]) -> None:
    """The command's one object on stdout."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not can_encode(text, sys.stdout):
        text = json.dumps(value, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stdout_console() -> Console:
    """stdout for tables. A pipe has no width; rich would fold names at 80 columns there."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def stderr_console() -> Console:
    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """A line for people, on stderr."""
    stderr_console().print(Text(safe(text)), soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; columns whose title starts with > are right-aligned."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    stdout_console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line; pairs without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value:
            grid.add_row(name, Text(safe(value)))
    stdout_console().print(grid)


def print_line(text: str) -> None:
    sys.stdout.write(safe(text) + "\n")


def as_dict(message: Message, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """The message as JSON data: names as in the proto (but for _PRINTED_NAMES), every field, enums as kebab-case.

    What has presence and is not set is null, and so are an enum's zero and numbers that JSON
    does not have. `without` names fields to leave out, at any depth.
    """
    left_out = frozenset(without)
    return {
        printed_name(field): _field(message, field, left_out)
        for field in message.DESCRIPTOR.fields
        if field.name not in left_out and field.full_name not in _NOT_PRINTED
    }


def printed_name(field: Any) -> str:
    """The key under which --json prints a field."""
    name: str = field.name
    return _PRINTED_NAMES.get(field.full_name, name)


def enum_text(enum: EnumDescriptor, number: int) -> str | None:
    """MODE_EXPERT_STREAMING as "expert-streaming"; None for zero, str of a number not known."""
    if number == 0:
        return None
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    zero: str = enum.values_by_number[0].name
    name: str = value.name
    return name.removeprefix(zero.removesuffix("UNSPECIFIED")).lower().replace("_", "-")


def mode_text(mode: int) -> str:
    return enum_text(placement.Mode.DESCRIPTOR, mode) or ""


def _field(message: Message, field: Any, without: frozenset[str]) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {str(key): _single(entry, field, without) for key, entry in value.items()}
    if field.is_repeated:
        return [_single(entry, field, without) for entry in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field, without)


def _single(value: Any, field: Any, without: frozenset[str]) -> Any:
    if isinstance(value, Message):
        return as_dict(value, without=without)
    if field.enum_type is not None:
        return enum_text(field.enum_type, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
