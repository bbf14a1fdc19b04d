"""Random bytes that are valid blocks of a ggml type and decode to a chosen mean and spread.

Quantised blocks are random but for their scales, which follow from the moments of the random parts. Block
layouts: ggml-common.h of llama.cpp.
"""

import struct
from collections.abc import Iterator
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_POOL_BYTES = 64 << 20
_CHUNK_BYTES = 8 << 20


class BlockType(Enum):
    """A ggml type as (its number in a GGUF, values per block, bytes per block)."""

    F32 = (0, 1, 4)
    F16 = (1, 1, 2)
    Q8_0 = (8, 32, 34)
    Q4_K = (12, 256, 144)
    Q6_K = (14, 256, 210)
    MXFP4 = (39, 32, 17)

    @property
    def number(self) -> int:
        return self.value[0]

    @property
    def block_values(self) -> int:
        return self.value[1]

    @property
    def block_bytes(self) -> int:
        return self.value[2]


class WeightSource:
    """Endless weights: one pool of random blocks per type and spread, read at random places.

    Making every byte anew would cost more than the disk; a pool of 64 MiB with random starts still gives
    every expert its own bytes. The pool is smaller for small models. Memory stays constant whatever is written.
    """

    def __init__(self, seed: int, pool_bytes: int = _POOL_BYTES) -> None:
        self._random = np.random.default_rng(seed)
        self._pool_bytes = pool_bytes
        self._pools: dict[tuple[BlockType, float, float], Bytes] = {}

    def chunks(self, block_type: BlockType, blocks: int, mean: float, std: float) -> Iterator[memoryview]:
        """That many blocks' bytes, in pieces."""
        key = (block_type, mean, std)
        if key not in self._pools:
            count = max(1, self._pool_bytes // block_type.block_bytes)
            self._pools[key] = random_blocks(self._random, block_type, count, mean, std)
        pool = self._pools[key]
        longest = max(1, _CHUNK_BYTES // block_type.block_bytes)
        while blocks:
            start = int(self._random.integers(len(pool)))
            taken = pool[start : start + min(blocks, longest)]
            blocks -= len(taken)
            yield taken.data.cast("B")


def random_blocks(random: np.random.Generator, block_type: BlockType, count: int, mean: float, std: float) -> Bytes:
    """`count` blocks as (count, block_bytes); quantised types have mean 0 whatever `mean` says."""
    if block_type in (BlockType.F32, BlockType.F16):
        values = random.standard_normal((count, 1), dtype=np.float32) * np.float32(std) + np.float32(mean)
        narrow: Bytes = values.astype(np.float32 if block_type is BlockType.F32 else np.float16).view(np.uint8)
        return narrow
    if mean != 0.0:
        raise ValueError(f"{block_type.name} blocks are made around 0, not around {mean}")
    blocks = random.integers(0, 256, size=(count, block_type.block_bytes), dtype=np.uint8)
    match block_type:
        case BlockType.Q4_K:
            # value = d*sc*q - dmin*m; sc and m are uniform in 0..63, q in 0..15, so that dmin = 7.5 d has
            # mean 0 and variance d^2 (E[sc^2]E[q^2] - (E[sc]E[q])^2 + 7.5^2 Var[m]).
            variance = 1333.5 * 77.5 - (31.5 * 7.5) ** 2 + 7.5**2 * 341.25
            d = std / variance**0.5
            blocks[:, 0:4] = _halves(d, 7.5 * d)
        case BlockType.Q6_K:
            # value = d*sc*(q-32); sc is uniform in -128..127, q in 0..63.
            blocks[:, 208:210] = _halves(std / (5461.5 * 341.5) ** 0.5)
        case BlockType.Q8_0:
            # value = d*q; q is uniform in -128..127.
            blocks[:, 0:2] = _halves(std / 5461.5**0.5)
        case BlockType.MXFP4:
            blocks[:, 0] = _mxfp4_exponents(random, count, std)
    return blocks


def _halves(*values: float) -> Bytes:
    return np.frombuffer(struct.pack(f"<{len(values)}e", *values), dtype=np.uint8)


def _mxfp4_exponents(random: np.random.Generator, count: int, std: float) -> Bytes:
    """Two neighbouring powers of two, mixed so that the variance is right.

    value = 2^(e-128) * k, k of 0 1 2 3 4 6 8 12 and their negatives: E[k^2] = 34.25.
    """
    scale = std / 34.25**0.5
    lower = int(np.floor(np.log2(scale)))
    share_of_upper = ((scale / 2.0**lower) ** 2 - 1.0) / 3.0
    upper = random.random(count) < share_of_upper
    exponents: Bytes = (128 + lower + upper).astype(np.uint8)
    return exponents
