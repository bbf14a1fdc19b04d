"""What quantisation will make of weights, so that training can get used to it.

The straight-through estimator (Bengio et al. 2013): the forward pass sees rounded weights, the gradient
passes as if they were not rounded. The rounding is simpler than llama.cpp's, which searches for the best
scales, so real quantisation does a little better.
"""

import torch
from torch import Tensor

_BLOCK = 32


def as_q4(weights: Tensor, noise: Tensor) -> Tensor:
    """Towards 4 bits with a scale and a minimum per 32 weights of a row, as in Q4_K."""
    with torch.no_grad():
        blocks = weights.reshape(*weights.shape[:-1], -1, _BLOCK)
        low = blocks.amin(-1, keepdim=True).clamp(max=0.0)
        step = ((blocks.amax(-1, keepdim=True) - low) / 15).clamp(min=1e-8)
        rounded = (((blocks - low) / step).round() * step + low).flatten(-2)
        change = (rounded - weights) * noise
    return weights + change


def as_q8(weights: Tensor, noise: Tensor) -> Tensor:
    """Towards 8 bits with a scale per 32 weights of a row, as in Q8_0."""
    with torch.no_grad():
        blocks = weights.reshape(*weights.shape[:-1], -1, _BLOCK)
        step = (blocks.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-10)
        change = ((blocks / step).round() * step - blocks).flatten(-2) * noise
    return weights + change
