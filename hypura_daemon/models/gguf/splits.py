"""The files of a model that is split into parts named NAME-00001-of-0000N.gguf."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hypura_daemon.errors import ModelFileError
from hypura_daemon.models.gguf.header import Header, MetadataValue

MAX_PARTS = 1024
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.ASCII | re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a model, as its file's name says; numbers start at 1."""

    prefix: str
    number: int
    count: int
    suffix: str

    def named(self, number: int) -> str:
        """The name of another part."""
        return f"{self.prefix}-{number:05d}-of-{self.count:05d}{self.suffix}"


def part_of(name: str) -> Part | None:
    """The part that a file name stands for; None for a model in a single file."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    return Part(match[1], int(match[2]), int(match[3]), name[-len(".gguf") :])


def first_part(path: Path) -> Path:
    """The file that a model's path stands for: the first of its parts, or itself."""
    part = part_of(path.name)
    return path if part is None else path.with_name(part.named(1))


def part_paths(path: Path) -> tuple[Path, ...]:
    """All files of the model that `path` is a part of. Raises ModelFileError, naming the parts that are missing."""
    part = part_of(path.name)
    if part is None:
        return (path,)
    if not 1 <= part.number <= part.count <= MAX_PARTS:
        raise ModelFileError(
            f"{path} cannot be part {part.number} of {part.count}; hypura takes 1 to {MAX_PARTS} parts, rename the file"
        )
    paths = tuple(path.with_name(part.named(number)) for number in range(1, part.count + 1))
    missing = [candidate.name for candidate in paths if not candidate.is_file()]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise ModelFileError(f"of the {part.count} parts of {path}, {shown} cannot be found; put all in {path.parent}")
    return paths


def check_parts(headers: list[Header]) -> None:
    """Check that the headers belong to one model, in this order. Raises ModelFileError."""
    first = headers[0]
    count = _number(first.metadata, "split.count", 1 if len(headers) == 1 else 0)
    if count != len(headers):
        if len(headers) == 1:
            raise ModelFileError(
                f"{first.path} is one of {count} parts by its split.count, but its name does not say so; "
                "give the parts the names NAME-00001-of-0000N.gguf"
            )
        raise ModelFileError(
            f"{first.path} has split.count {count}, but its name says {len(headers)}; rename the parts"
        )
    if len(headers) == 1:
        return
    for number, header in enumerate(headers):
        if (given := _number(header.metadata, "split.no", -1)) != number:
            raise ModelFileError(
                f"{header.path} has split.no {given}, not {number}; the parts are mixed up, download them again"
            )
    tensors = sum(len(header.tensors) for header in headers)
    claimed = _number(first.metadata, "split.tensors.count", tensors)
    if claimed != tensors:
        raise ModelFileError(
            f"{first.path} has split.tensors.count {claimed}, but its parts hold {tensors} tensors; download them again"
        )


def _number(metadata: Mapping[str, MetadataValue], key: str, default: int) -> int:
    value = metadata.get(key, default)
    return value if isinstance(value, int) else default
