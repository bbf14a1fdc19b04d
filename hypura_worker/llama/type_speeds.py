"""How fast ggml multiplies matrices of each type by one vector, as decoding does.

Memory's bandwidth does not tell: two cores that read 32 GB/s of it get through 20 GB/s of Q4_K and 14 GB/s of MXFP4.
"""

from __future__ import annotations

import statistics
import time

import llama_cpp
from gguf import GGMLQuantizationType

from hypura_worker.llama.graph import CpuBackend, prototypes
from hypura_worker.llama.library import hook
from hypura_worker.streaming.memory import Pool

TYPES = (
    *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"),
    *("Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S"),
)
_BYTES = 256 << 20  # well above any cache that all cores share
_WIDTH, _ROWS = 2048, 1024
_FILL = 0x21  # as a half-precision scale a hundredth, and as eight bits of exponent a normal number
_SECONDS, _LEAST_PASSES = 0.08, 3


def type_speeds(threads: int) -> dict[str, float]:
    """Bytes of weights per second with so many threads, by the type's name in GGUF."""
    llama_cpp.llama_backend_init()
    pool = Pool(_BYTES + _WIDTH * 4 + _ROWS * 4)
    pool.bytes.fill(_FILL)
    try:
        return {name: _speed(GGMLQuantizationType[name], threads, pool) for name in TYPES}
    finally:
        pool.close()


def _speed(number: int, threads: int, pool: Pool) -> float:
    base, place = prototypes(), hook().hypura_tensor_place
    row_bytes = base.ggml_row_size(number, _WIDTH)
    count = _BYTES // (row_bytes * _ROWS)
    backend = CpuBackend(threads, 2 * count, extra_tensors=2 * count + 1)
    try:
        vector = base.ggml_new_tensor_3d(backend.context, GGMLQuantizationType.F32, _WIDTH, 1, 1)
        place(vector, pool.address + _BYTES)
        for index in range(count):
            matrix = base.ggml_new_tensor_3d(backend.context, number, _WIDTH, _ROWS, 1)
            place(matrix, pool.address + index * row_bytes * _ROWS)
            product = base.ggml_mul_mat(backend.context, matrix, vector)
            place(product, pool.address + _BYTES + _WIDTH * 4)
            base.ggml_build_forward_expand(backend.graph, product)
        seconds: list[float] = []
        began = time.perf_counter()
        while len(seconds) <= _LEAST_PASSES or time.perf_counter() - began < _SECONDS:
            start = time.perf_counter()
            base.ggml_backend_graph_compute(backend.handle, backend.graph)
            seconds.append(time.perf_counter() - start)
        return float(count * row_bytes * _ROWS / statistics.median(seconds[1:]))  # the first one wakes the threads
    finally:
        backend.close()
