"""Builds small GGUF files byte by byte: intact ones, and ones with exactly one requested defect."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
F32, Q4_0, Q4_K = 0, 2, 12
_LAYOUTS = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<B", UINT64: "<Q"}
_BLOCKS = {F32: (1, 4), Q4_0: (32, 18), Q4_K: (256, 144)}

Value = int | float | str | bool | list[int] | list[bool] | list[str] | bytes


@dataclass(frozen=True)
class Weights:
    """One tensor; offset_bytes follows from the ones before unless it is given."""

    name: str
    shape: tuple[int, ...] = (32, 2)
    type: int = F32
    offset_bytes: int | None = None


DENSE: dict[str, Value] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
}
MOE: dict[str, Value] = {**DENSE, "llama.expert_count": 4, "llama.expert_used_count": 2}
DENSE_TENSORS = (
    Weights("token_embd.weight", (64, 100)),
    Weights("blk.0.attn_q.weight", (64, 64)),
    Weights("blk.1.ffn_up.weight", (64, 128), Q4_0),
    Weights("output.weight", (64, 100)),
)
MOE_TENSORS = (*DENSE_TENSORS, Weights("blk.0.ffn_down_exps.weight", (96, 64, 4), Q4_0))


def text(value: str | bytes) -> bytes:
    """A string with its length before it."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: float) -> bytes:
    """A type and a value of it."""
    return struct.pack("<I", kind) + struct.pack(_LAYOUTS[kind], value)


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    """An array that claims `count` elements, whatever its content."""
    return struct.pack("<IIQ", ARRAY, kind, count) + content


def value_bytes(value: Value) -> bytes:
    """Type and value; bytes stand for themselves."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return scalar(BOOL, value)
    if isinstance(value, int):
        return scalar(UINT32, value)
    if isinstance(value, float):
        return scalar(FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text(value)
    if value and isinstance(value[0], str):
        return array(STRING, len(value), b"".join(text(str(item)) for item in value))
    kind = BOOL if value and isinstance(value[0], bool) else INT32
    return array(kind, len(value), b"".join(struct.pack(_LAYOUTS[kind], item) for item in value))


def gguf_bytes(
    metadata: Mapping[str, Value] | Sequence[tuple[str | bytes, Value]] = DENSE,
    tensors: Sequence[Weights] = DENSE_TENSORS,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    alignment_bytes: int = 32,
    missing_bytes: int = 0,
) -> bytes:
    """A whole file, its weights zero, without the last `missing_bytes`."""
    keys = list(metadata.items()) if isinstance(metadata, Mapping) else list(metadata)
    counts = (len(tensors) if tensor_count is None else tensor_count, len(keys) if key_count is None else key_count)
    parts = [magic + struct.pack("<IQQ", version, *counts)]
    parts += [text(key) + value_bytes(value) for key, value in keys]
    end_bytes = size_bytes = 0
    for tensor in tensors:
        offset_bytes = end_bytes if tensor.offset_bytes is None else tensor.offset_bytes
        count = len(tensor.shape)
        parts.append(text(tensor.name))
        parts.append(struct.pack(f"<I{count}QIQ", count, *tensor.shape, tensor.type, offset_bytes))
        values, block = 1, _BLOCKS.get(tensor.type, (1, 1))
        for size in tensor.shape:
            values *= size
        size_bytes = offset_bytes + values // block[0] * block[1]
        end_bytes = -(-size_bytes // alignment_bytes) * alignment_bytes
    header = b"".join(parts)
    header = header.ljust(-(-len(header) // alignment_bytes) * alignment_bytes, b"\0")
    data_bytes = min(size_bytes, 1 << 20)
    whole = header + bytes(data_bytes)
    return whole[: len(whole) - missing_bytes]


def write_model(path: Path, content: bytes | None = None) -> Path:
    """Write a model, an intact one unless its bytes are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes() if content is None else content)
    return path


def write_split(folder: Path, stem: str = "big", count: int = 3) -> list[Path]:
    """Write an intact model in `count` parts, one tensor in each."""
    paths = []
    for number in range(count):
        split: dict[str, Value] = {"split.no": number, "split.count": count, "split.tensors.count": count}
        metadata = {**DENSE, "llama.block_count": count, **split} if number == 0 else split
        content = gguf_bytes(metadata, [Weights(f"blk.{number}.attn_q.weight")])
        paths.append(write_model(folder / f"{stem}-{number + 1:05d}-of-{count:05d}.gguf", content))
    return paths
