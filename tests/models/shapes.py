"""The hyperparameters of real models, and of two tiny ones, as their GGUF files state them."""

from dataclasses import dataclass, replace
from typing import Literal

Quant = Literal["mixed", "q8_0", "f16"]
QUANTS: tuple[Quant, ...] = ("mixed", "q8_0", "f16")


@dataclass(frozen=True, slots=True)
class Shape:
    """One model's dimensions; a dense model has no experts, an expert-only model no feed_forward of its own."""

    name: str
    architecture: Literal["llama", "qwen3moe", "gpt-oss"]
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int
    vocabulary: int
    context_tokens: int
    rope_base: float
    experts: int = 0
    experts_used: int = 0
    sliding_window_tokens: int = 0
    norm_epsilon: float = 1e-6

    @property
    def query(self) -> int:
        return self.heads * self.head

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head

    def with_layers(self, layers: int) -> "Shape":
        """The same model cut, or stretched, to that many layers."""
        if not 1 <= layers <= 512:
            raise ValueError(f"layers must be between 1 and 512, which llama.cpp holds, not {layers}")
        return replace(self, layers=layers)


_ALL = (
    Shape(
        name="qwen3-30b-a3b",
        architecture="qwen3moe",
        layers=48,
        embedding=2048,
        heads=32,
        kv_heads=4,
        head=128,
        feed_forward=768,
        vocabulary=151_936,
        context_tokens=40_960,
        rope_base=1_000_000.0,
        experts=128,
        experts_used=8,
    ),
    Shape(
        name="mixtral-8x7b",
        architecture="llama",
        layers=32,
        embedding=4096,
        heads=32,
        kv_heads=8,
        head=128,
        feed_forward=14_336,
        vocabulary=32_000,
        context_tokens=32_768,
        rope_base=1_000_000.0,
        experts=8,
        experts_used=2,
        norm_epsilon=1e-5,
    ),
    Shape(
        name="llama-70b",
        architecture="llama",
        layers=80,
        embedding=8192,
        heads=64,
        kv_heads=8,
        head=128,
        feed_forward=28_672,
        vocabulary=128_256,
        context_tokens=131_072,
        rope_base=500_000.0,
        norm_epsilon=1e-5,
    ),
    Shape(
        name="gpt-oss-120b",
        architecture="gpt-oss",
        layers=36,
        embedding=2880,
        heads=64,
        kv_heads=8,
        head=64,
        feed_forward=2880,
        vocabulary=201_088,
        context_tokens=131_072,
        rope_base=150_000.0,
        experts=128,
        experts_used=4,
        sliding_window_tokens=128,
        norm_epsilon=1e-5,
    ),
    Shape(
        name="tiny-moe",
        architecture="qwen3moe",
        layers=6,
        embedding=256,
        heads=4,
        kv_heads=2,
        head=64,
        feed_forward=256,
        vocabulary=4096,
        context_tokens=8192,
        rope_base=1_000_000.0,
        experts=16,
        experts_used=4,
    ),
    Shape(
        name="tiny-dense",
        architecture="llama",
        layers=8,
        embedding=512,
        heads=8,
        kv_heads=4,
        head=64,
        feed_forward=1536,
        vocabulary=4096,
        context_tokens=8192,
        rope_base=500_000.0,
        norm_epsilon=1e-5,
    ),
)

SHAPES: dict[str, Shape] = {shape.name: shape for shape in _ALL}


def shape_named(name: str, layers: int | None = None) -> Shape:
    """The named shape, cut to `layers` when given; ValueError names the known ones."""
    shape = SHAPES.get(name)
    if shape is None:
        raise ValueError(f"no shape is named {name!r}; known shapes: {', '.join(SHAPES)}")
    return shape if layers is None else shape.with_layers(layers)
