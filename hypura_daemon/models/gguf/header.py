"""Reads the header of one GGUF file (version 2 or 3, little endian) without its long arrays.

    magic, version, number of tensors, number of keys
    keys: name, type, value          long arrays and strings are skipped, not kept
    tensors: name, dimensions, type, offset
    padding to general.alignment, then the tensors' data, each padded likewise

Nothing from the file is used before it is bounded: counts by the bytes that are left, lengths and offsets by the
file's size. The rules are those of llama.cpp's own reader (ggml/src/gguf.cpp), so that what passes here does not fail
there. Source: docs/gguf.md of ggml.
"""

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from hypura_daemon.errors import ModelFileError, UnsupportedModel
from hypura_daemon.models.gguf.foreign import START_BYTES, what_it_is
from hypura_daemon.models.gguf.ggml_types import TYPES
from hypura_daemon.models.gguf.window import DAMAGED, Window

MAX_KEYS = 16_384
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME, less the closing zero.
MAX_DIMENSIONS = 4
MAX_KEPT_STRING_BYTES = 1 << 20  # Chat templates take 100 KB at most; whole tokenizer files take 30 MB.
MAX_KEPT_ARRAY = 1024
MAX_KEPT_BYTES = 16 << 20
MAX_STRINGS = 1 << 22  # In all arrays together; today's largest vocabularies have 262,144 tokens.
MAX_ALIGNMENT_BYTES = 1 << 20
_DEFAULT_ALIGNMENT_BYTES = 32
_SMALLEST_KEY_BYTES = 8 + 1 + 4 + 1
_SMALLEST_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_SCALARS = {
    0: ("uint8", "B"),
    1: ("int8", "b"),
    2: ("uint16", "H"),
    3: ("int16", "h"),
    4: ("uint32", "I"),
    5: ("int32", "i"),
    6: ("float32", "f"),
    7: ("bool", "B"),
    10: ("uint64", "Q"),
    11: ("int64", "q"),
    12: ("float64", "d"),
}
_LAYOUTS = {number: struct.Struct("<" + code) for number, (_, code) in _SCALARS.items()}
_MAGIC = b"GGUF"
_START = struct.Struct("<4sI")
_COUNTS = struct.Struct("<QQ")
_TYPE = struct.Struct("<I")
_ARRAY_START = struct.Struct("<IQ")
_LENGTH = struct.Struct("<Q")
_TENSOR_ENDS = {count: struct.Struct(f"<{count}QIQ") for count in range(1, MAX_DIMENSIONS + 1)}


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array that was skipped: only its type and length are known. A long string is an array of "byte"."""

    type: str
    count: int


Scalar = int | float | str | bool
MetadataValue = Scalar | tuple[Scalar, ...] | LongArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: shape has the fastest dimension first, offset_bytes counts from the start of its file."""

    name: str
    type: str
    shape: tuple[int, ...]
    file: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a GGUF file, and the size, time and inode by which changes are noticed later."""

    path: Path
    version: int
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    file_size_bytes: int
    modified_nanoseconds: int
    inode: int


def read_header(path: Path, file: int = 0) -> Header:
    """Read the header of `path`; `file` is its number among a split model's files.

    Raises ModelFileError, and UnsupportedModel for versions, byte orders and tensor types that
    hypura does not read.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            reason = f"it is a link to {path.readlink()}, which does not exist"
        raise ModelFileError(f"{path} cannot be opened: {reason}; check the path and its permissions") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise ModelFileError(f"{path} is {kind}, not a regular file; give the path of a GGUF file")
        start = os.pread(descriptor, START_BYTES, 0)
        if not start.startswith(_MAGIC[: max(1, len(start))]):
            raise ModelFileError(f"{path} is not a GGUF file: {what_it_is(start, status.st_size)}")
        version, metadata, tensors = _Reader(descriptor, path, status.st_size, file).read()
    finally:
        os.close(descriptor)
    return Header(path, version, metadata, tensors, status.st_size, status.st_mtime_ns, status.st_ino)


class _Reader:
    def __init__(self, descriptor: int, path: Path, size_bytes: int, file: int) -> None:
        self._window = Window(descriptor, path, size_bytes)
        self._path = path
        self._size_bytes = size_bytes
        self._file = file
        self._kept_bytes = 0
        self._strings = 0

    def read(self) -> tuple[int, Mapping[str, MetadataValue], tuple[TensorInfo, ...]]:
        version = self._read_version()
        tensor_count, key_count = self._window.unpack(_COUNTS, "the header")
        self._bound(key_count, MAX_KEYS, _SMALLEST_KEY_BYTES, "metadata keys")
        self._bound(tensor_count, MAX_TENSORS, _SMALLEST_TENSOR_BYTES, "tensors")
        metadata = self._read_metadata(key_count)
        return version, metadata, self._read_tensors(tensor_count, self._alignment_bytes(metadata))

    def _read_version(self) -> int:
        _, version = self._window.unpack(_START, "the start of a GGUF file")
        if version & 0xFFFF == 0 and version:
            raise UnsupportedModel(
                f"{self._path} is a big-endian GGUF, for machines such as s390x; download the usual one, or convert "
                "the model again without --bigendian"
            )
        if version not in (2, 3):
            raise UnsupportedModel(
                f"{self._path} is GGUF version {version}, but hypura and llama.cpp read versions 2 and 3; "
                "download a newer file, or convert the model again"
            )
        return int(version)

    def _read_metadata(self, count: int) -> dict[str, MetadataValue]:
        metadata: dict[str, MetadataValue] = {}
        for number in range(count):
            key = self._name(MAX_KEY_BYTES, f"metadata key {number}")
            if key in metadata:
                raise self._bad(f"metadata key {key!r} occurs twice")
            (kind,) = self._window.unpack(_TYPE, f"the type of {key!r}")
            if kind == _UINT32 or key != "general.alignment":
                metadata[key] = self._read_value(kind, key)
            else:
                raise self._bad(f"general.alignment is of type {kind}, not {_UINT32} (uint32)")
        return metadata

    def _read_value(self, kind: int, key: str) -> MetadataValue:
        if kind == _STRING:
            return self._read_string(key)
        if kind == _ARRAY:
            return self._read_array(key)
        if kind not in _SCALARS:
            raise self._bad(f"metadata key {key!r} has unknown type {kind}")
        (value,) = self._window.unpack(_LAYOUTS[kind], f"the value of {key!r}")
        self._keep(8)
        if kind == _BOOL:
            return bool(value)
        return float(value) if isinstance(value, float) else int(value)

    def _read_string(self, key: str) -> str | LongArray:
        (length,) = self._window.unpack(_LENGTH, f"the length of {key!r}")
        if length > MAX_KEPT_STRING_BYTES:
            self._window.skip(length, f"the text of {key!r}")
            return LongArray("byte", length)
        self._keep(length)
        # Values are for people and templates; one bad byte in a licence text must not make the model unusable.
        return str(self._window.take(length, f"the text of {key!r}"), "utf-8", "replace")

    def _read_array(self, key: str) -> tuple[Scalar, ...] | LongArray:
        kind, count = self._window.unpack(_ARRAY_START, f"the start of array {key!r}")
        what = f"array {key!r} of {count} values"
        if kind == _STRING:
            self._strings += count
            if self._strings > MAX_STRINGS:
                raise self._bad(f"{what} makes more than {MAX_STRINGS} strings")
            if count > MAX_KEPT_ARRAY:
                self._window.skip_strings(count, what)
                return LongArray("string", count)
            strings = [self._read_string(key) for _ in range(count)]
            kept = tuple(text for text in strings if isinstance(text, str))
            return kept if len(kept) == count else LongArray("string", count)
        if kind not in _SCALARS:
            raise self._bad(f"array {key!r} has elements of unknown type {kind}")
        name, code = _SCALARS[kind]
        size_bytes = count * _LAYOUTS[kind].size
        if count > MAX_KEPT_ARRAY:
            self._window.skip(size_bytes, what)
            return LongArray(name, count)
        self._keep(8 * count)
        values = struct.unpack(f"<{count}{code}", self._window.take(size_bytes, what))
        return tuple(map(bool, values)) if kind == _BOOL else values

    def _alignment_bytes(self, metadata: Mapping[str, MetadataValue]) -> int:
        value = metadata.get("general.alignment", _DEFAULT_ALIGNMENT_BYTES)
        if not isinstance(value, int) or not 8 <= value <= MAX_ALIGNMENT_BYTES or value & (value - 1):
            raise self._bad(f"general.alignment is {value}, not a power of two from 8 to {MAX_ALIGNMENT_BYTES}")
        return value

    def _read_tensors(self, count: int, alignment_bytes: int) -> tuple[TensorInfo, ...]:
        seen: set[str] = set()
        found: list[tuple[str, str, tuple[int, ...], int]] = []
        end_bytes = 0  # of the tensor before, within the data
        offsets: list[int] = []
        for number in range(count):
            name = self._name(MAX_TENSOR_NAME_BYTES, f"the name of tensor {number}")
            if name in seen:
                raise self._bad(f"tensor {name!r} occurs twice")
            seen.add(name)
            kind, shape, size_bytes, offset_bytes = self._read_tensor(name)
            if offset_bytes != end_bytes:
                raise self._bad(
                    f"tensor {name!r} has offset {offset_bytes}, not {end_bytes} where the tensor before it ends"
                )
            end_bytes = _up(offset_bytes + size_bytes, alignment_bytes)
            found.append((name, kind, shape, size_bytes))
            offsets.append(offset_bytes)
        data_bytes = _up(self._window.position, alignment_bytes)
        for (name, _, _, size_bytes), offset_bytes in zip(found, offsets, strict=True):
            if data_bytes + offset_bytes + size_bytes > self._size_bytes:
                whole_bytes = data_bytes + offsets[-1] + found[-1][3]
                raise ModelFileError(
                    f"{self._path} is cut off: {self._size_bytes} of {whole_bytes} bytes are there, "
                    f"{self._size_bytes / whole_bytes:.1%} (tensor {name!r} ends at byte "
                    f"{data_bytes + offset_bytes + size_bytes}, but the file ends at byte {self._size_bytes}); "
                    "let its download end, or download it again"
                )
        return tuple(
            TensorInfo(name, kind, shape, self._file, data_bytes + offset_bytes, size_bytes)
            for (name, kind, shape, size_bytes), offset_bytes in zip(found, offsets, strict=True)
        )

    def _read_tensor(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        """Type name, shape, size and offset within the data."""
        (dimensions,) = self._window.unpack(_TYPE, f"tensor {name!r}")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self._bad(f"tensor {name!r} has {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
        *sizes, number, offset_bytes = self._window.unpack(_TENSOR_ENDS[dimensions], f"tensor {name!r}")
        shape = tuple(sizes)
        values = prod(shape)
        if not 0 < values < 1 << 63:
            raise self._bad(f"tensor {name!r} has the impossible shape {shape}")
        if number not in TYPES:
            raise UnsupportedModel(
                f"{self._path}: tensor {name!r} has ggml type {number}, which this version does not know; "
                "use a file with another quantization, or a newer version of hypura"
            )
        kind = TYPES[number]
        if shape[0] % kind.block_values:
            raise self._bad(f"tensor {name!r} has rows of {shape[0]}, but {kind.name} comes in {kind.block_values}s")
        return kind.name, shape, values // kind.block_values * kind.block_bytes, offset_bytes

    def _name(self, limit_bytes: int, what: str) -> str:
        (length,) = self._window.unpack(_LENGTH, what)
        if not 1 <= length <= limit_bytes:
            raise self._bad(f"{what} has {length} bytes, not 1 to {limit_bytes}")
        self._keep(length)
        raw = self._window.take(length, what)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if not text.isprintable():
            raise self._bad(f"{what} is {raw[:80]!r}, which is not printable text")
        return text

    def _keep(self, count_bytes: int) -> None:
        self._kept_bytes += count_bytes
        if self._kept_bytes > MAX_KEPT_BYTES:
            raise self._bad(f"its metadata has more than {MAX_KEPT_BYTES} bytes beside the long arrays")

    def _bound(self, count: int, limit: int, smallest_bytes: int, what: str) -> None:
        if count > limit:
            raise self._bad(f"it claims {count} {what}, more than the {limit} that hypura reads")
        if count * smallest_bytes > self._window.remaining_bytes:
            raise self._bad(f"it claims {count} {what}, more than its {self._size_bytes} bytes could hold")

    def _bad(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self._path} is not a usable GGUF: {what}; {DAMAGED}")


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
