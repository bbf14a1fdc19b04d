"""The demo model's dimensions, and the sizes that follow from them.

Experts are Q4_K and their rows 256 wide, so that each slice is 9 pages of 4,096 bytes (256 x 256 weights in
blocks of 256 at 144 bytes). Everything else is Q8_0 or F32:

    experts      layers x experts x 3 x 36,864    = 8,847,360 bytes (5 layers, 16 experts)
    attention    layers x 327,680 x 34 / 32       = 1,740,800
    embedding    4,096 x 256 x 34 / 32            = 1,114,112     tied to the output
    the rest     norms, routers, vocabulary       ≈   250,000
                                                   11.9 MB of the 12 MB allowed
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tests.demo_model.tokenizer import VOCABULARY_TOKENS

PAGE_BYTES = 4096
_Q4_K_BLOCK_WEIGHTS, _Q4_K_BLOCK_BYTES = 256, 144


@dataclass(frozen=True, slots=True)
class Shape:
    """A qwen3moe model with tied output."""

    layers: int = 5
    embedding: int = 256
    heads: int = 8
    kv_heads: int = 2
    head: int = 64
    experts: int = 16
    experts_used: int = 4
    expert_width: int = 256
    vocabulary: int = VOCABULARY_TOKENS
    context_tokens: int = 2048
    norm_epsilon: float = 1e-6
    rope_base: float = 10000.0

    @property
    def expert_slice_bytes(self) -> int:
        """One expert's gate, up or down matrix in Q4_K."""
        return self.embedding * self.expert_width // _Q4_K_BLOCK_WEIGHTS * _Q4_K_BLOCK_BYTES

    @property
    def parameters(self) -> int:
        """All weights, norms included."""
        return sum(math.prod(dimensions) for dimensions in self.parameter_shapes().values())

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter of model.py by name, rows first."""
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        wide, narrow = (
            (self.experts, self.expert_width, self.embedding),
            (self.experts, self.embedding, self.expert_width),
        )
        layer: dict[str, tuple[int, ...]] = {
            "attention_norm.weight": (self.embedding,),
            "attention.q": (queries, self.embedding),
            "attention.k": (keys, self.embedding),
            "attention.v": (keys, self.embedding),
            "attention.output": (self.embedding, queries),
            "attention.q_norm.weight": (self.head,),
            "attention.k_norm.weight": (self.head,),
            "experts_norm.weight": (self.embedding,),
            "experts.router": (self.experts, self.embedding),
            "experts.gate": wide,
            "experts.up": wide,
            "experts.down": narrow,
        }
        shapes: dict[str, tuple[int, ...]] = {
            "embedding": (self.vocabulary, self.embedding),
            "norm.weight": (self.embedding,),
        }
        for number in range(self.layers):
            shapes |= {f"layers.{number}.{name}": dimensions for name, dimensions in layer.items()}
        return shapes

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises OSError and ValueError for a file that is not there or is none of ours."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except TypeError as error:
            raise ValueError(f"{path} is no shape of a demo model: {error}; train again") from error


DEMO = Shape()
SMOKE = Shape(layers=2, experts=8, experts_used=2)
