"""The tensors of a shape: name, dimensions, block type and how its values are spread."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.models.shapes import Quant, Shape
from tests.models.weights import BlockType

# Routing with these looks like a trained model's: experts repeat from token to token about as often.
_WEIGHT_STD = 0.02
_ROUTER_STD = 0.05
_EMBEDDING_STD = 1.0


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor to write; `dimensions` has the fastest-moving first, as GGUF has it."""

    name: str
    dimensions: tuple[int, ...]
    type: BlockType
    mean: float
    std: float

    @property
    def values(self) -> int:
        count = 1
        for dimension in self.dimensions:
            count *= dimension
        return count

    @property
    def size_bytes(self) -> int:
        return self.values // self.type.block_values * self.type.block_bytes


def tensors_of(shape: Shape, quant: Quant) -> list[Tensor]:
    """Every tensor of the model, in file order."""
    return [
        _matrix("token_embd.weight", (shape.embedding, shape.vocabulary), _base(shape, quant), _EMBEDDING_STD),
        *(tensor for layer in range(shape.layers) for tensor in _layer(shape, quant, layer)),
        _norm("output_norm.weight", shape.embedding),
        _matrix("output.weight", (shape.embedding, shape.vocabulary), _finer(shape, quant)),
    ]


def _layer(shape: Shape, quant: Quant, layer: int) -> Iterator[Tensor]:
    base = _base(shape, quant)
    better = _finer(shape, quant) if _uses_more_bits(layer, shape.layers) else base
    gpt_oss = shape.architecture == "gpt-oss"
    prefix = f"blk.{layer}."
    yield _norm(f"{prefix}attn_norm.weight", shape.embedding)
    for name, rows, block_type in (
        ("attn_q", shape.query, base),
        ("attn_k", shape.kv, base),
        ("attn_v", shape.kv, better),
    ):
        yield _matrix(f"{prefix}{name}.weight", (shape.embedding, rows), block_type)
        if gpt_oss:
            yield _bias(f"{prefix}{name}.bias", rows)
    yield _matrix(f"{prefix}attn_output.weight", (shape.query, shape.embedding), base)
    if shape.architecture == "qwen3moe":
        yield _norm(f"{prefix}attn_q_norm.weight", shape.head)
        yield _norm(f"{prefix}attn_k_norm.weight", shape.head)
    if gpt_oss:
        yield _bias(f"{prefix}attn_output.bias", shape.embedding)
        yield _bias(f"{prefix}attn_sinks.weight", shape.heads)
        yield _norm(f"{prefix}post_attention_norm.weight", shape.embedding)
    else:
        yield _norm(f"{prefix}ffn_norm.weight", shape.embedding)
    yield from _feed_forward(shape, prefix, *_feed_forward_types(shape, quant, base, better))


def _feed_forward(shape: Shape, prefix: str, type_in: BlockType, type_out: BlockType) -> Iterator[Tensor]:
    if not shape.experts:
        yield _matrix(f"{prefix}ffn_gate.weight", (shape.embedding, shape.feed_forward), type_in)
        yield _matrix(f"{prefix}ffn_up.weight", (shape.embedding, shape.feed_forward), type_in)
        yield _matrix(f"{prefix}ffn_down.weight", (shape.feed_forward, shape.embedding), type_out)
        return
    yield Tensor(f"{prefix}ffn_gate_inp.weight", (shape.embedding, shape.experts), BlockType.F32, 0.0, _ROUTER_STD)
    into = (shape.embedding, shape.feed_forward, shape.experts)
    back = (shape.feed_forward, shape.embedding, shape.experts)
    yield _matrix(f"{prefix}ffn_gate_exps.weight", into, type_in)
    yield _matrix(f"{prefix}ffn_up_exps.weight", into, type_in)
    yield _matrix(f"{prefix}ffn_down_exps.weight", back, type_out)
    if shape.architecture == "gpt-oss":
        yield _bias(f"{prefix}ffn_gate_inp.bias", shape.experts)
        yield _bias(f"{prefix}ffn_gate_exps.bias", shape.feed_forward, shape.experts)
        yield _bias(f"{prefix}ffn_up_exps.bias", shape.feed_forward, shape.experts)
        yield _bias(f"{prefix}ffn_down_exps.bias", shape.embedding, shape.experts)


def _feed_forward_types(shape: Shape, quant: Quant, base: BlockType, better: BlockType) -> tuple[BlockType, BlockType]:
    if shape.architecture == "gpt-oss" and quant == "mixed":
        return BlockType.MXFP4, BlockType.MXFP4
    return base, better


def _base(shape: Shape, quant: Quant) -> BlockType:
    if quant == "f16":
        return BlockType.F16
    # Rows of 2,880 are no multiple of a K-quant's 256: such files keep attention in Q8_0.
    whole_blocks = shape.embedding % 256 == 0 and shape.feed_forward % 256 == 0 and shape.query % 256 == 0
    return BlockType.Q4_K if quant == "mixed" and whole_blocks else BlockType.Q8_0


def _finer(shape: Shape, quant: Quant) -> BlockType:
    base = _base(shape, quant)
    return BlockType.Q6_K if base is BlockType.Q4_K else base


def _uses_more_bits(layer: int, layers: int) -> bool:
    """llama.cpp's rule for Q4_K_M (`use_more_bits` in src/llama-quant.cpp)."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _matrix(name: str, dimensions: tuple[int, ...], block_type: BlockType, std: float = _WEIGHT_STD) -> Tensor:
    return Tensor(name, dimensions, block_type, 0.0, std)


def _norm(name: str, length: int) -> Tensor:
    return Tensor(name, (length,), BlockType.F32, 1.0, 0.0)


def _bias(name: str, *dimensions: int) -> Tensor:
    return Tensor(name, dimensions, BlockType.F32, 0.0, _WEIGHT_STD)
