"""Muon: momentum whose matrices are made orthogonal before each step, for the matrices inside the layers.

Jordan 2024 (kellerjordan.github.io/posts/muon): the quintic Newton-Schulz iteration and its coefficients.
Liu et al. 2025 (Muon is Scalable for LLM Training), eq. 4: the scale that gives a step the size of AdamW's.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [count, rows, columns] with all singular values moved to about 1, in 16 bits."""
    values = matrices.bfloat16()
    tall = values.shape[-2] > values.shape[-1]
    if tall:
        values = values.mT
    values = values / (values.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    first, second, third = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = values @ values.mT
        values = first * values + (second * square + third * square @ square) @ values
    return values.mT if tall else values


class Muon(torch.optim.Optimizer):
    """Of matrices [rows, columns] or stacks of them; equal shapes are stepped together."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step; weights without a gradient stay."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape[-2], weight.shape[-1]].append(weight)
            for (rows, columns), weights in alike.items():
                self._step_alike(group, weights, rows, columns)

    def _step_alike(self, group: dict[str, float], weights: list[nn.Parameter], rows: int, columns: int) -> None:
        directions = []
        for weight in weights:
            state = self.state[weight]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
            ahead = weight.grad.lerp(state["momentum"], group["momentum"])  # Nesterov's.
            directions.append(ahead.reshape(-1, rows, columns))
        moved = orthogonal(torch.cat(directions)).split([len(part) for part in directions])
        size = 0.2 * max(rows, columns) ** 0.5
        for weight, direction in zip(weights, moved, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(direction.reshape(weight.shape).to(weight.dtype), alpha=-group["lr"] * size)
