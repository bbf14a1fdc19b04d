"""How fast memory is read, and how fast ggml multiplies matrices of each type by one vector, as decoding does.

The first does not give the second: two cores that read 32 GB/s compute 20 GB/s of Q4_K and 14 GB/s of MXFP4.
"""

from __future__ import annotations

import statistics
import threading
import time

import llama_cpp  # before numpy: see hypura_worker.llama.library
import numpy as np
from gguf import GGMLQuantizationType

from hypura_worker.errors import LoadFailed
from hypura_worker.llama.graph import CpuBackend, prototypes
from hypura_worker.llama.library import hook
from hypura_worker.streaming.pool import Pool

_BANDWIDTH_SECONDS = 0.5
_BANDWIDTH_CHUNK_BYTES = 4 << 20
TYPES = (
    *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"),
    *("Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S"),
)
_BYTES = 256 << 20  # well above any cache that all cores share
_WIDTH, _ROWS = 2048, 1024
_FILL = 0x21  # 0.01 as a half-precision scale, and a normal number as eight bits of exponent
_ROUNDS = 5


def memory_bytes_per_second(threads: int) -> float:
    """Memory bandwidth: what so many threads read together, each from its own part of an array beyond the caches."""
    array = np.ones(_BYTES // 8, np.int64)  # ones, since untouched zeros are one shared page
    chunks = np.array_split(array, max(threads, _BYTES // _BANDWIDTH_CHUNK_BYTES))
    read_bytes = [0] * threads
    gate = threading.Barrier(threads + 1)
    deadline = [0.0]

    def read(number: int) -> None:
        gate.wait()
        while True:
            for chunk in chunks[number::threads]:
                chunk.sum()  # releases the interpreter's lock
                read_bytes[number] += chunk.nbytes
                if time.perf_counter() >= deadline[0]:
                    return

    readers = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
    for reader in readers:
        reader.start()
    started = time.perf_counter()
    deadline[0] = started + _BANDWIDTH_SECONDS
    gate.wait()
    for reader in readers:
        reader.join()
    return sum(read_bytes) / (time.perf_counter() - started)


def type_speeds(threads: int) -> dict[str, float]:
    """Bytes of weights per second with so many threads, by the type's name in GGUF.

    Medians of rounds over all types, so that a moment in which other programs compute distorts no single type.
    """
    llama_cpp.llama_backend_init()
    pool = Pool(_BYTES + _WIDTH * 4 + _ROWS * 4)
    pool.bytes.fill(_FILL)
    products = {name: _Products(GGMLQuantizationType[name], threads, pool) for name in TYPES}
    try:
        for product in products.values():
            product.seconds()  # wakes the threads
        rounds = [{name: product.seconds() for name, product in products.items()} for _ in range(_ROUNDS)]
        return {
            name: product.size_bytes / statistics.median(seconds[name] for seconds in rounds)
            for name, product in products.items()
        }
    finally:
        for product in products.values():
            product.close()
        pool.close()


class _Products:
    """A graph of products of one vector with matrices of one type, size_bytes of them, that lie in the pool."""

    def __init__(self, number: int, threads: int, pool: Pool) -> None:
        base, place = prototypes(), hook().hypura_tensor_place
        matrix_bytes = base.ggml_row_size(number, _WIDTH) * _ROWS
        count = _BYTES // matrix_bytes
        self.size_bytes: int = count * matrix_bytes
        self._backend = CpuBackend(threads, 2 * count, extra_tensors=2 * count + 1)
        vector = base.ggml_new_tensor_3d(self._backend.context, GGMLQuantizationType.F32, _WIDTH, 1, 1)
        place(vector, pool.address + _BYTES)
        for index in range(count):
            matrix = base.ggml_new_tensor_3d(self._backend.context, number, _WIDTH, _ROWS, 1)
            place(matrix, pool.address + index * matrix_bytes)
            product = base.ggml_mul_mat(self._backend.context, matrix, vector)
            place(product, pool.address + _BYTES + _WIDTH * 4)
            base.ggml_build_forward_expand(self._backend.graph, product)

    def seconds(self) -> float:
        """How long computing it once takes. Raises LoadFailed where ggml fails."""
        start = time.perf_counter()
        status = prototypes().ggml_backend_graph_compute(self._backend.handle, self._backend.graph)
        if status != 0:  # GGML_STATUS_SUCCESS
            raise LoadFailed(f"ggml could not compute its products (status {status})")
        return time.perf_counter() - start

    def close(self) -> None:
        self._backend.close()
