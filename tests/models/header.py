"""A GGUF header as bytes: metadata and tensor table (docs/gguf.md of ggml), without touching the weights."""

import struct
from collections.abc import Sequence

from tests.models.shapes import Quant, Shape
from tests.models.tensors import Tensor
from tests.models.tokenizer import CHAT_TEMPLATE, make_vocabulary

ALIGNMENT_BYTES = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_FILE_TYPES: dict[Quant, int] = {"mixed": 15, "q8_0": 7, "f16": 1}
_MXFP4_FILE_TYPE = 38


def header_bytes(shape: Shape, quant: Quant, tensors: Sequence[Tensor]) -> bytes:
    """The whole header, padded so that the first tensor may follow at once."""
    keys = _metadata(shape, quant)
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))]
    parts += [_text(name) + value for name, value in keys.items()]
    offset_bytes = 0
    for tensor in tensors:
        count = len(tensor.dimensions)
        parts.append(_text(tensor.name))
        parts.append(struct.pack(f"<I{count}QIQ", count, *tensor.dimensions, tensor.type.number, offset_bytes))
        offset_bytes += padded(tensor.size_bytes)
    header = b"".join(parts)
    return header.ljust(padded(len(header)), b"\0")


def padded(size_bytes: int) -> int:
    """Rounded up to the alignment of tensor data."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _metadata(shape: Shape, quant: Quant) -> dict[str, bytes]:
    gpt_oss = shape.architecture == "gpt-oss"
    model = {
        "block_count": _uint32(shape.layers),
        "context_length": _uint32(shape.context_tokens),
        "embedding_length": _uint32(shape.embedding),
        "feed_forward_length": _uint32(shape.feed_forward),
        "vocab_size": _uint32(shape.vocabulary),
        "attention.head_count": _uint32(shape.heads),
        "attention.head_count_kv": _uint32(shape.kv_heads),
        "attention.key_length": _uint32(shape.head),
        "attention.value_length": _uint32(shape.head),
        "attention.layer_norm_rms_epsilon": _float32(shape.norm_epsilon),
        "rope.dimension_count": _uint32(shape.head),
        "rope.freq_base": _float32(shape.rope_base),
    }
    if shape.experts:
        model |= {"expert_count": _uint32(shape.experts), "expert_used_count": _uint32(shape.experts_used)}
    if shape.architecture != "llama":
        model |= {"expert_feed_forward_length": _uint32(shape.feed_forward)}
    if gpt_oss:
        model |= {
            "attention.sliding_window": _uint32(shape.sliding_window_tokens),
            "rope.scaling.type": _string("yarn"),
            "rope.scaling.factor": _float32(32.0),
            "rope.scaling.original_context_length": _uint32(4096),
        }
    mxfp4 = gpt_oss and quant == "mixed"
    return {
        "general.architecture": _string(shape.architecture),
        "general.type": _string("model"),
        "general.name": _string(f"{shape.name} (synthetic, {shape.layers} layers)"),
        "general.file_type": _uint32(_MXFP4_FILE_TYPE if mxfp4 else _FILE_TYPES[quant]),
        "general.quantization_version": _uint32(2),
        **{f"{shape.architecture}.{key}": value for key, value in model.items()},
        **_tokenizer(shape.vocabulary),
    }


def _tokenizer(size: int) -> dict[str, bytes]:
    vocabulary = make_vocabulary(size)
    return {
        "tokenizer.ggml.model": _string("gpt2"),
        "tokenizer.ggml.pre": _string("qwen2"),
        "tokenizer.ggml.tokens": _strings(vocabulary.tokens),
        "tokenizer.ggml.token_type": struct.pack(f"<IIQ{size}i", _ARRAY, _INT32, size, *vocabulary.types),
        "tokenizer.ggml.merges": _strings(vocabulary.merges),
        "tokenizer.ggml.bos_token_id": _uint32(vocabulary.end_of_text),
        "tokenizer.ggml.eos_token_id": _uint32(vocabulary.end_of_turn),
        "tokenizer.ggml.padding_token_id": _uint32(vocabulary.end_of_text),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", _BOOL, False),
        "tokenizer.chat_template": _string(CHAT_TEMPLATE),
    }


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _uint32(value: int) -> bytes:
    return struct.pack("<II", _UINT32, value)


def _float32(value: float) -> bytes:
    return struct.pack("<If", _FLOAT32, value)


def _string(value: str) -> bytes:
    return struct.pack("<I", _STRING) + _text(value)


def _strings(values: Sequence[str]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + b"".join(map(_text, values))
