"""Small graphs of hypura's own, computed on the CPU as llama.cpp computes its graphs."""

from __future__ import annotations

import ctypes
from ctypes import c_bool, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from functools import cache

from hypura_worker.errors import IncompatibleLibrary, LoadFailed
from hypura_worker.llama.library import InitParams, cpu_device, ggml, hook, mirrors

_NODES = 128  # HYPURA_MAX_VIEWS


@mirrors("hypura_graph_calls")
class _Calls(ctypes.Structure):
    """hypura_graph_calls of products.h."""

    _fields_ = tuple((name, c_void_p) for name in ("backend", "graph", "clear", "add_node", "compute"))


class CpuBackend:
    """ggml's CPU backend with `threads` threads, and room for one graph of `nodes` nodes.

    context: a ggml_context without data for the graph, and for extra_tensors more than the graph's own.
    Raises LoadFailed when there is no memory for it, IncompatibleLibrary when ggml lacks a function.
    """

    def __init__(self, threads: int, nodes: int, extra_tensors: int = 1) -> None:
        base = prototypes()
        self.handle = base.ggml_backend_dev_init(cpu_device(), None)
        if not self.handle:
            raise LoadFailed("llama.cpp could not make a CPU backend")
        registry = base.ggml_backend_dev_backend_reg(cpu_device())
        set_threads = base.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_set_n_threads")
        if not set_threads:
            raise IncompatibleLibrary("ggml's CPU backend has no ggml_backend_set_n_threads")
        ctypes.CFUNCTYPE(None, c_void_p, c_int32)(set_threads)(self.handle, threads)
        size = base.ggml_graph_overhead_custom(nodes, False) + extra_tensors * base.ggml_tensor_overhead()
        self.context = base.ggml_init(InitParams(size, None, True))
        if not self.context:
            raise LoadFailed(f"no memory for a graph of {nodes} nodes")
        self.graph = base.ggml_new_graph_custom(self.context, nodes, False)

    def close(self) -> None:
        """Free it, with the graph and the context's tensors."""
        ggml().ggml_free(self.context)
        ggml().ggml_backend_free(self.handle)


class Products:
    """What products.c needs: a CPU backend with `threads` threads, a graph of at most _NODES nodes, and its own state.

    Raises as CpuBackend does.
    """

    def __init__(self, threads: int) -> None:
        self._backend = CpuBackend(threads, _NODES)
        calls = _Calls(
            backend=self._backend.handle,
            graph=self._backend.graph,
            **{
                field: ctypes.cast(getattr(ggml(), symbol), c_void_p)
                for field, symbol in (
                    ("clear", "ggml_graph_clear"),
                    ("add_node", "ggml_graph_add_node"),
                    ("compute", "ggml_backend_graph_compute"),
                )
            },
        )
        self.handle: int = hook().hypura_products_new(ctypes.addressof(calls))
        if not self.handle:
            raise LoadFailed("no memory for the products of experts")

    def close(self) -> None:
        """Free all of it."""
        hook().hypura_products_free(self.handle)
        self._backend.close()


@cache
def prototypes() -> ctypes.CDLL:
    """ggml with the prototypes of the functions that build and compute a graph. Raises IncompatibleLibrary."""
    base = ggml()
    functions: dict[str, tuple[object, list[object]]] = {
        "ggml_backend_dev_init": (c_void_p, [c_void_p, c_char_p]),
        "ggml_backend_dev_backend_reg": (c_void_p, [c_void_p]),
        "ggml_backend_reg_get_proc_address": (c_void_p, [c_void_p, c_char_p]),
        "ggml_backend_free": (None, [c_void_p]),
        "ggml_backend_graph_compute": (c_int32, [c_void_p, c_void_p]),
        "ggml_build_forward_expand": (None, [c_void_p, c_void_p]),
        "ggml_graph_overhead_custom": (c_size_t, [c_size_t, c_bool]),
        "ggml_mul_mat": (c_void_p, [c_void_p, c_void_p, c_void_p]),
        "ggml_row_size": (c_size_t, [c_int32, c_int64]),
        "ggml_new_graph_custom": (c_void_p, [c_void_p, c_size_t, c_bool]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(base, name, None)
        if function is None:
            raise IncompatibleLibrary(f"libggml has no {name}; install llama-cpp-python 0.3.36")
        function.restype = result
        function.argtypes = arguments
    return base
