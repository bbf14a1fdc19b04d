"""qwen3moe in PyTorch, as llama.cpp's src/models/qwen3moe.cpp computes it.

RMSNorm, grouped attention with a norm on each query and key head, NEOX rotary positions, a softmax router
whose best experts are weighted by their share of the chosen probability, SwiGLU experts, tied output.

All experts are computed for all tokens, as one wide feed-forward layer whose parts are weighted by the
router (0 for those not chosen): three plain matrix products, which at this size are faster than sorting
tokens by expert, and the gradient is the same.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from tests.demo_model.quantised import as_q4, as_q8
from tests.demo_model.shape import Shape


@dataclass(frozen=True, slots=True)
class Routing:
    """Of one layer: the share of tokens that each expert gets [experts], its mean probability [experts], and
    the experts chosen for each token [rows, tokens, experts used]."""

    share: Tensor
    probability: Tensor
    chosen: Tensor


def rotary_tables(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions [rows, tokens], each [rows, 1, tokens, head]."""
    half = torch.arange(0, shape.head, 2, device=positions.device, dtype=torch.float32) / shape.head
    angles = positions[..., None].float() * shape.rope_base**-half
    both = torch.cat((angles, angles), dim=-1)[:, None]
    return both.cos(), both.sin()


def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = heads.float().chunk(2, dim=-1)
    return (heads.float() * cosines + torch.cat((-second, first), dim=-1) * sines).to(heads.dtype)


class Norm(nn.Module):
    """RMSNorm in 32 bits."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, values: Tensor) -> Tensor:
        wide = values.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (wide * scale * self.weight).to(values.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        std = shape.embedding**-0.5
        self.q = nn.Parameter(torch.randn(shape.heads * shape.head, shape.embedding) * std)
        self.k = nn.Parameter(torch.randn(shape.kv_heads * shape.head, shape.embedding) * std)
        self.v = nn.Parameter(torch.randn(shape.kv_heads * shape.head, shape.embedding) * std)
        self.output = nn.Parameter(
            torch.randn(shape.embedding, shape.heads * shape.head) * std / (2 * shape.layers) ** 0.5
        )
        self.q_norm = Norm(shape.head, shape.norm_epsilon)
        self.k_norm = Norm(shape.head, shape.norm_epsilon)

    def forward(self, values: Tensor, cosines: Tensor, sines: Tensor, allowed: Tensor, noise: Tensor) -> Tensor:
        rows, tokens, _ = values.shape
        shape = self.shape

        def heads(weight: Tensor, count: int) -> Tensor:
            return functional.linear(values, as_q8(weight, noise)).view(rows, tokens, count, shape.head)

        q = _rotated(self.q_norm(heads(self.q, shape.heads)).transpose(1, 2), cosines, sines)
        k = _rotated(self.k_norm(heads(self.k, shape.kv_heads)).transpose(1, 2), cosines, sines)
        v = heads(self.v, shape.kv_heads).transpose(1, 2)
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        mixed = functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=allowed)
        return functional.linear(mixed.transpose(1, 2).reshape(rows, tokens, -1), as_q8(self.output, noise))


class Experts(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        experts, width, embedding = shape.experts, shape.expert_width, shape.embedding
        self.router = nn.Parameter(torch.randn(experts, embedding) * 0.02)
        self.gate = nn.Parameter(torch.randn(experts, width, embedding) * embedding**-0.5)
        self.up = nn.Parameter(torch.randn(experts, width, embedding) * embedding**-0.5)
        self.down = nn.Parameter(torch.randn(experts, embedding, width) * width**-0.5 / (2 * shape.layers) ** 0.5)

    def forward(self, values: Tensor, noise: Tensor, counted: Tensor) -> tuple[Tensor, Routing]:
        rows, tokens, embedding = values.shape
        shape = self.shape
        with torch.autocast(values.device.type, enabled=False):
            probabilities = functional.linear(values.float(), self.router).softmax(-1)
        best, chosen = probabilities.topk(shape.experts_used, dim=-1)
        weights = torch.zeros_like(probabilities).scatter(-1, chosen, best / best.sum(-1, keepdim=True))
        gate = functional.linear(values, as_q4(self.gate, noise).flatten(0, 1))
        up = functional.linear(values, as_q4(self.up, noise).flatten(0, 1))
        hidden = (functional.silu(gate) * up).view(rows, tokens, shape.experts, shape.expert_width)
        hidden = (hidden * weights[..., None].to(hidden.dtype)).flatten(2)
        down = as_q4(self.down, noise).transpose(0, 1).reshape(embedding, -1)
        share = counted[..., None].float()
        total = share.sum().clamp(min=1.0)
        used = (weights > 0).float()
        routing = Routing((used * share).sum((0, 1)) / total, (probabilities * share).sum((0, 1)) / total, chosen)
        return functional.linear(hidden, down), routing


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.embedding, shape.norm_epsilon)
        self.attention = Attention(shape)
        self.experts_norm = Norm(shape.embedding, shape.norm_epsilon)
        self.experts = Experts(shape)

    def forward(
        self, values: Tensor, cosines: Tensor, sines: Tensor, allowed: Tensor, noise: Tensor, counted: Tensor
    ) -> tuple[Tensor, Routing]:
        values = values + self.attention(self.attention_norm(values), cosines, sines, allowed, noise)
        moved, routing = self.experts(self.experts_norm(values), noise, counted)
        return values + moved, routing


class DemoModel(nn.Module):
    """Token ids [rows, tokens] to logits [rows, tokens, vocabulary]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.embedding) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.embedding, shape.norm_epsilon)

    def forward(
        self, tokens: Tensor, document: Tensor, positions: Tensor, noise: Tensor
    ) -> tuple[Tensor, list[Routing]]:
        """document numbers the packed documents of a row: none sees another. 0 is padding.

        noise, a scalar from 0 to 1, is how far weights are moved to what their quantisation will make of them.
        """
        length = tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        allowed = ((document[:, :, None] == document[:, None, :]) & causal)[:, None]
        cosines, sines = rotary_tables(self.shape, positions)
        embedding = as_q8(self.embedding, noise)
        values = functional.embedding(tokens, embedding)
        counted = document > 0
        routings = []
        for layer in self.layers:
            values, routing = layer(values, cosines, sines, allowed, noise, counted)
            routings.append(routing)
        return functional.linear(self.norm(values), embedding), routings


def positions_of(document: Tensor) -> Tensor:
    """Positions that begin anew with each packed document, [rows, tokens]."""
    places = torch.arange(document.shape[1], device=document.device).expand_as(document)
    begins = torch.ones_like(document, dtype=torch.bool)
    begins[:, 1:] = document[:, 1:] != document[:, :-1]
    return places - torch.where(begins, places, 0).cummax(1).values


def balance_loss(routings: list[Routing], experts_used: int) -> Tensor:
    """The load-balancing loss of the Switch Transformer (Fedus et al. 2021, eq. 4), 1 when all experts share alike."""
    losses = [len(item.share) * (item.share / experts_used * item.probability).sum() for item in routings]
    return torch.stack(losses).mean()
