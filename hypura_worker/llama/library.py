"""llama.cpp's libraries and the compiled hook, loaded and checked against each other.

llama_cpp is imported here before anything else that brings a C++ library along: with
numpy first, another libstdc++ was in place and llama.cpp crashed.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from importlib.metadata import version
from typing import TypeVar

import llama_cpp

from hypura_worker.errors import IncompatibleLibrary

SUPPORTED_VERSIONS = ((0, 3, 36), (0, 3, 37))
"""llama-cpp-python from, and up to but not including: the versions the struct layouts were checked with."""

_OPERATIONS = (
    "NONE",
    "GET_ROWS",
    "MUL_MAT_ID",
    "ADD_ID",
    "REPEAT",
    "MUL_MAT",
    "ADD",
    "SOFT_MAX",
    "UNARY",
    "RESHAPE",
    "VIEW",
    "PERMUTE",
    "TRANSPOSE",
    "MUL",
    "FLASH_ATTN_EXT",
)
_OBJECT_OVERHEAD_BYTES = 32  # sizeof(struct ggml_object), ggml.h
_TYPE_F32, _TYPE_I32 = 0, 26
_MAX_OPERATIONS = 128


class _Layout(ctypes.Structure):
    """layout of layouts.c: a struct, or one of its fields."""

    _fields_ = (("structure", c_char_p), ("field", c_char_p), ("offset", c_uint64), ("size", c_uint64))


Fields = dict[str, tuple[int, int]]
"""Offset and size of each field by name; of the whole struct under the empty name."""

Mirror = TypeVar("Mirror", bound=type[ctypes.Structure])
_mirrors: dict[str, Fields] = {}
_compiled: dict[str, Fields] = {}
"""The same of the compiled structs, once the hook is loaded."""


def mirrors(structure: str) -> Callable[[Mirror], Mirror]:
    """Decorate the ctypes mirror of a struct of the hook: `hook` then compares the two field by field."""

    def register(mirror: Mirror) -> Mirror:
        fields = {field[0]: getattr(mirror, field[0]) for field in mirror._fields_}
        expect_layout(
            structure,
            {"": (0, ctypes.sizeof(mirror)), **{name: (field.offset, field.size) for name, field in fields.items()}},
        )
        return mirror

    return register


def expect_layout(structure: str, fields: Fields) -> None:
    """Have `hook` compare these fields with the struct's. Raises IncompatibleLibrary, now or from `hook`."""
    _mirrors[structure] = fields
    if _compiled:
        _compare(structure, fields)


@mirrors("hypura_ggml")
class GgmlCalls(ctypes.Structure):
    """hypura_ggml of ggml_mirror.h: what the hook calls in ggml."""

    _fields_ = (
        ("buffer_init", c_void_p),
        ("buffer_is_host", c_void_p),
        ("tensor_get", c_void_p),
        ("tensor_set", c_void_p),
        *((f"op_{name.lower()}", c_int32) for name in _OPERATIONS),
    )


class InitParams(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


@cache
def ggml() -> ctypes.CDLL:
    """ggml as llama.cpp uses it, with the prototypes used here.

    Functions are looked up from libllama on, through the libraries that it was linked with: opened by their paths they
    may be loaded a second time, with another registry, logger and abort callback, since a wheel holds copies of them
    under several names.
    """
    library = ctypes.CDLL(llama_cpp.llama_cpp._lib._name)
    prototypes: dict[str, tuple[object, list[object]]] = {
        "ggml_op_name": (c_char_p, [c_int32]),
        "ggml_type_name": (c_char_p, [c_int32]),
        "ggml_tensor_overhead": (c_size_t, []),
        "ggml_init": (c_void_p, [InitParams]),
        "ggml_free": (None, [c_void_p]),
        "ggml_new_tensor_3d": (c_void_p, [c_void_p, c_int32, c_int64, c_int64, c_int64]),
        "ggml_get_name": (c_char_p, [c_void_p]),
        "ggml_set_name": (c_void_p, [c_void_p, c_char_p]),
        "ggml_get_rows": (c_void_p, [c_void_p, c_void_p, c_void_p]),
        "ggml_reshape_1d": (c_void_p, [c_void_p, c_void_p, c_int64]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name, None)
        if function is None:
            raise IncompatibleLibrary(f"libggml has no {name}; install llama-cpp-python 0.3.36")
        function.restype = result
        function.argtypes = arguments
    return library


@cache
def cpu_device() -> int:
    """The ggml_backend_dev_t of the CPU."""
    find = getattr(ggml(), "ggml_backend_dev_by_type", None)
    if find is None:
        raise IncompatibleLibrary("libggml has no ggml_backend_dev_by_type; install llama-cpp-python 0.3.36")
    find.restype, find.argtypes = c_void_p, [c_int32]
    device = find(0)  # GGML_BACKEND_DEVICE_TYPE_CPU
    if not device:
        raise IncompatibleLibrary("llama.cpp has no CPU backend; reinstall llama-cpp-python")
    return int(device)


@cache
def hook() -> ctypes.CDLL:
    """The compiled hook, with its prototypes, after the check of the layouts it shares with ggml."""
    spec = importlib.util.find_spec("hypura_worker.llama._hook")
    if spec is None or spec.origin is None:
        raise IncompatibleLibrary("the compiled hook is missing: install hypura with pip, with a C compiler")
    library = ctypes.CDLL(spec.origin)
    prototypes: dict[str, tuple[object, list[object]]] = {
        "hypura_tensor_size": (c_size_t, []),
        "hypura_describe": (None, [c_void_p] * 6),
        "hypura_tensor_place": (None, [c_void_p, c_void_p]),
        "hypura_tensor_slots": (None, [c_void_p, c_int32, c_int64, c_size_t]),
        "hypura_arena_new": (c_void_p, [c_void_p, c_void_p]),
        "hypura_arena_type": (c_void_p, [c_void_p]),
        "hypura_arena_count": (c_int32, [c_void_p]),
        "hypura_arena_arrivals": (c_void_p, [c_void_p]),
        "hypura_arena_misuse": (c_int32, [c_void_p]),
        "hypura_arena_gather": (c_bool, [c_void_p, c_void_p]),
        "hypura_arena_expect": (None, [c_void_p, c_void_p, c_int32]),
        "hypura_arena_restore_names": (None, [c_void_p]),
        "hypura_arena_free": (None, [c_void_p]),
        "hypura_reader_new": (c_void_p, [c_int32, c_int64]),
        "hypura_reader_threads": (c_int32, [c_void_p]),
        "hypura_reader_submit": (None, [c_void_p, c_void_p, c_int32, c_void_p]),
        "hypura_reader_wait": (c_int32, [c_void_p, c_void_p]),
        "hypura_reader_read_figures": (None, [c_void_p, c_void_p]),
        "hypura_reader_delay": (None, [c_void_p, c_int32]),
        "hypura_reader_free": (None, [c_void_p]),
        "hypura_dense_insert": (None, [c_void_p, c_void_p, c_int32]),
        "hypura_products_new": (c_void_p, [c_void_p]),
        "hypura_products_free": (None, [c_void_p]),
        "hypura_likelihood_visit": (None, [c_void_p, c_int32, c_void_p, c_int32, c_int32, c_void_p]),
        "hypura_likelihood_learn": (None, [c_void_p]),
        "hypura_coactivation_visit": (None, [c_void_p, c_int32, c_bool, c_void_p, c_int32, c_int32]),
        "hypura_coactivation_lift": (None, [c_void_p, c_int32, c_void_p]),
        "hypura_coactivation_free": (None, [c_void_p]),
        "hypura_confidence_of": (c_float, [c_void_p, c_void_p]),
        "hypura_confidence_learn": (None, [c_void_p, c_void_p, c_bool]),
        "hypura_layouts": (POINTER(_Layout), [POINTER(c_int32)]),
        "hypura_kv_release": (c_bool, [c_void_p]),
        "hypura_kv_resident": (c_int64, [c_void_p]),
        "hypura_experts_begin": (None, [c_void_p, c_void_p]),
        "hypura_experts_warm": (None, [c_void_p, c_void_p, c_void_p, c_int32]),
        "hypura_experts_drop_from": (None, [c_void_p, c_void_p, c_int32]),
        "hypura_experts_free_scratch": (None, [c_void_p]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    _check_layouts(library)
    _compiled.update(_layouts(library))
    for structure, fields in _mirrors.items():
        _compare(structure, fields)
    return library


def _layouts(library: ctypes.CDLL) -> dict[str, Fields]:
    """The structs of the compiled hook that Python lays out too."""
    count = c_int32()
    entries = library.hypura_layouts(ctypes.byref(count))
    found: dict[str, Fields] = {}
    for entry in entries[: count.value]:
        found.setdefault(entry.structure.decode(), {})[(entry.field or b"").decode()] = (entry.offset, entry.size)
    return found


def _compare(structure: str, fields: Fields) -> None:
    compiled = _compiled.get(structure, {})
    for name in sorted({*fields, *compiled}):
        if fields.get(name) != compiled.get(name):
            raise IncompatibleLibrary(
                f"the compiled hook is from another version: {structure}.{name} lies at (offset, size) "
                f"{compiled.get(name)}, not {fields.get(name)}; install hypura again"
            )


@cache
def ggml_calls() -> GgmlCalls:
    """The table that the hook calls ggml through. Kept alive for the process: the hook keeps its address."""
    base = ggml()
    numbers: dict[str, int] = {}
    # ggml_op_name reads an array unchecked: stop at the last name.
    while not numbers or next(reversed(numbers)) != "GLU":
        name = base.ggml_op_name(len(numbers))
        if name is None or len(numbers) == _MAX_OPERATIONS:
            break
        numbers[name.decode()] = len(numbers)
    missing = [name for name in _OPERATIONS if name not in numbers]
    if missing:
        raise IncompatibleLibrary(f"ggml does not know {', '.join(missing)}; install llama-cpp-python 0.3.36")
    addresses = {
        field: ctypes.cast(getattr(base, symbol), c_void_p)
        for field, symbol in (
            ("buffer_init", "ggml_backend_buffer_init"),
            ("buffer_is_host", "ggml_backend_buffer_is_host"),
            ("tensor_get", "ggml_backend_tensor_get"),
            ("tensor_set", "ggml_backend_tensor_set"),
        )
    }
    return GgmlCalls(**addresses, **{f"op_{name.lower()}": numbers[name] for name in _OPERATIONS})


def address_of(function: ctypes._NamedFuncPointer) -> int:
    """The address of a C function."""
    return ctypes.cast(function, c_void_p).value or 0


def check_version(installed: str | None = None) -> None:
    """Raise IncompatibleLibrary unless the installed llama-cpp-python is one the layouts were checked with."""
    text = installed if installed is not None else version("llama-cpp-python")
    parts = tuple(int(part) for part in text.split("+")[0].split(".")[:3] if part.isdigit())
    lowest, limit = SUPPORTED_VERSIONS
    if not lowest <= parts < limit:
        wanted = ".".join(map(str, lowest))
        raise IncompatibleLibrary(f"llama-cpp-python {text} has not been checked; install {wanted}")


def _check_layouts(library: ctypes.CDLL) -> None:
    """Compare ggml_mirror.h's tensor with real ones: size, and each field the hook touches.

    Raises IncompatibleLibrary naming the field that differs.
    """
    check_version()
    base = ggml()
    if base.ggml_tensor_overhead() - _OBJECT_OVERHEAD_BYTES != library.hypura_tensor_size():
        raise IncompatibleLibrary(
            f"ggml's tensor is {base.ggml_tensor_overhead() - _OBJECT_OVERHEAD_BYTES} bytes where the hook "
            f"expects {library.hypura_tensor_size()}; install llama-cpp-python 0.3.36"
        )
    context = base.ggml_init(InitParams(16 * base.ggml_tensor_overhead(), None, True))
    try:
        rows = base.ggml_new_tensor_3d(context, _TYPE_F32, 3, 5, 7)
        base.ggml_set_name(rows, b"rows under test")
        ids = base.ggml_new_tensor_3d(context, _TYPE_I32, 2, 7, 1)
        gathered = base.ggml_get_rows(context, rows, ids)
        view = base.ggml_reshape_1d(context, rows, 105)
        calls = ggml_calls()
        expected = {
            "ne": (Description(library, rows).ne, (3, 5, 7, 1)),
            "nb": (Description(library, rows).nb, (4, 12, 60, 420)),
            "name": (Description(library, rows).name, b"rows under test"),
            "type": (Description(library, ids).type, _TYPE_I32),
            "op": (Description(library, gathered).op, calls.op_get_rows),
            "src": (Description(library, gathered).sources, (rows, ids)),
            "view_src": (Description(library, view).view_of, rows),
            "reshape": (Description(library, view).op, calls.op_reshape),
        }
    finally:
        base.ggml_free(context)
    for field, (found, wanted) in expected.items():
        if found != wanted:
            raise IncompatibleLibrary(
                f"ggml's tensor has another layout: {field} reads {found!r}, not {wanted!r}; "
                "install llama-cpp-python 0.3.36"
            )


class Description:
    """A tensor as ggml_mirror.h lays it out."""

    def __init__(self, library: ctypes.CDLL, tensor: int) -> None:
        ne = (c_int64 * 4)()
        nb = (c_uint64 * 4)()
        numbers = (c_int32 * 2)()
        pointers = (c_void_p * 5)()
        name = c_char_p()
        library.hypura_describe(
            tensor,
            ne,
            nb,
            numbers,
            ctypes.cast(pointers, c_void_p),
            ctypes.cast(ctypes.byref(name), c_void_p),
        )
        self.ne = tuple(ne)
        self.nb = tuple(nb)
        self.type, self.op = numbers
        self.sources = (pointers[0], pointers[1])
        self.view_of = pointers[2]
        self.data = pointers[3]
        self.buffer = pointers[4]
        self.name = name.value


def describe(tensor: int) -> Description:
    """The tensor at this address: ne, nb, type, op, sources, view_of, data, buffer, name."""
    return Description(hook(), tensor)
