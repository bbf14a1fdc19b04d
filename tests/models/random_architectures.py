"""Writes a small random model of any architecture, for tests that compare logits bit for bit.

    metadata ──► llama_model_init_from_user ──► callback per tensor ──► gguf_add_tensor ──► file
                 (llama.cpp names and shapes     (we fill it)
                  every tensor itself)

No table of tensors is needed, and every optional tensor that llama.cpp knows is there: expert biases and
expert scales among them, which a streaming engine must move together with their experts. llama.cpp aborts
the process on what it does not like, so each model is made in a child process.
"""

import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.models.architecture_metadata import (
    Uint64s,
    Value,
    left_out,
    list_architectures,
    list_predicting,
    made_of,
    metadata,
    sizes_of,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["list_architectures", "list_predicting", "write_random_model"]

_GGUF_UINT32, _GGUF_FLOAT32, _GGUF_UINT64 = 4, 6, 10
_GGML_F16 = 1
_NEVER_PREDICT = {"exaone4", "glm4"}
"""llama.cpp has no tensors for their prediction layers, and skips those of a file."""
_TIMEOUT_SECONDS = 240


class _Memory(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


@dataclass(frozen=True, slots=True)
class _Job:
    """All that decides the bytes of a model."""

    architecture: str
    moe: bool
    path: str
    experts: int
    experts_used: int
    layers: int | None
    seed: int
    expert_feed_forward: int | None
    scales: bool
    tied: bool
    prediction_type: str
    more: dict[str, Any]
    without: str
    vocabulary: int | None
    fused: bool


def write_random_model(
    architecture: str,
    moe: bool,
    path: Path,
    *,
    experts: int = 8,
    experts_used: int = 2,
    layers: int | None = None,
    seed: int = 1,
    aligned: bool = True,
    scales: bool = True,
    tied: bool = False,
    prediction_type: str = "",
    more: Mapping[str, bool | int | float | str] | None = None,
    without: str = "(?!)",
    vocabulary: int | None = None,
    fused: bool = True,
) -> None:
    """Write a random F32 model to `path`; the same arguments give the same bytes.

    aligned: with it, an expert's slice is a multiple of 4,096 bytes; without, it is not.
    scales: keep the optional `.scale` tensors, those per expert included.
    tied: leave `output.weight` out where the architecture then uses the token embeddings.
    prediction_type: F32 or F16, and the model (of `list_predicting`) has one more layer, which predicts further
    tokens (MTP) and is not computed, with its matrices in that type.
    more: metadata keys of the architecture, added or instead, such as pooling_type.
    without: a regular expression of more optional tensors to leave out. vocabulary: tokens, if not as few as usual.
    fused: where llama.cpp takes gate and up of the experts as one tensor, write it; else two.
    Raises ValueError for an architecture or layer count that cannot be made, RuntimeError with llama.cpp's
    last words when it refuses or dies.
    """
    sizes = sizes_of(architecture, layers)
    if prediction_type:
        layers = sizes.layers + 1
        sizes = sizes_of(architecture, layers)
    # One more row of F32: no embedding length used here is a multiple of 1,024, so the slice leaves the page.
    expert_feed_forward = None if aligned or not moe else sizes.feed_forward + 1
    metadata(architecture, moe, sizes, experts=experts, experts_used=experts_used)  # refuses early
    job = _Job(
        architecture,
        moe,
        str(path),
        experts,
        experts_used,
        layers,
        seed,
        expert_feed_forward,
        scales and not prediction_type,  # llama.cpp refuses scales in a layer that it leaves out
        tied,
        prediction_type,
        dict(more or {}),
        without,
        vocabulary,
        fused,
    )
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asdict(job))],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
        # Without it, an abort starts a debugger for a backtrace.
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    if done.returncode != 0:
        path.unlink(missing_ok=True)
        last_words = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise RuntimeError(
            f"llama.cpp could not make {architecture} (moe={moe}), exit code {done.returncode}:\n{last_words}"
        )


def _fill(name: str, shape: tuple[int, ...], seed: int) -> "np.ndarray[Any, Any]":
    """Values that keep activations near one, so that every weight shows in the logits."""
    import numpy as np

    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = random.standard_normal(shape, dtype=np.float32)
    if "ssm_a" in name:
        return -np.abs(values)  # Mamba's state must decay.
    if name.removesuffix(".weight").endswith("scale") or "norm" in name or name.startswith("rope_"):
        return 1.0 + 0.2 * np.clip(values, -2, 2)
    if name == "token_embd.weight":
        return values
    if name.endswith(".weight") and len(shape) > 1:
        return values / np.float32(np.sqrt(shape[-1]))
    return values * np.float32(0.1)


def _make(job: _Job) -> None:
    """Runs in the child: builds the model in memory and writes it."""
    # numpy before llama_cpp can bring in another libstdc++ that llama.cpp crashes on.
    import llama_cpp
    import numpy as np

    library = ctypes.CDLL(str(next(Path(llama_cpp.__file__).parent.joinpath("lib").glob("libggml-base.*"))))
    gguf = _Gguf(library)
    sizes = sizes_of(job.architecture, job.layers)

    def keys(moe: bool, layers: int, prediction_layers: int) -> dict[str, Value]:
        usual = sizes_of(job.architecture, layers)
        return metadata(
            job.architecture,
            moe,
            replace(usual, vocabulary=job.vocabulary or usual.vocabulary),
            experts=job.experts,
            experts_used=job.experts_used,
            expert_feed_forward=job.expert_feed_forward,
            prediction_layers=prediction_layers,
            more=job.more,
        )

    predicting = 1 if job.prediction_type else 0
    made_moe = made_of(job.architecture, job.moe)
    out = gguf.create(keys(job.moe, sizes.layers, predicting))
    if predicting and job.architecture in _NEVER_PREDICT:
        wanted = gguf.create(keys(made_moe, sizes.layers - 1, 0))
    else:
        wanted = gguf.create(keys(made_moe, sizes.layers, predicting))
    shared = keys(job.moe, sizes.layers, predicting).get(f"{job.architecture}.attention.shared_kv_layers", 0)
    assert isinstance(shared, int)
    missing = re.compile(f"{left_out(job.architecture, job.moe, sizes.layers, shared)}|{job.without}")
    failures: list[BaseException] = []
    made: dict[str, int] = {}

    def fill(tensor: int, _: object) -> None:
        try:
            name = gguf.name(tensor)
            values = np.ascontiguousarray(_fill(name, gguf.shape(tensor), job.seed), dtype=np.float32)
            if gguf.size_bytes(tensor) != values.nbytes:
                raise RuntimeError(f"{name} is not F32: {gguf.size_bytes(tensor)} bytes for {values.size} values")
            ctypes.memmove(gguf.data(tensor), values.ctypes.data, values.nbytes)
            optional = (not job.scales and name.endswith("scale")) or (job.tied and name == "output.weight")
            optional = optional or missing.fullmatch(name) is not None
            # A tied or shared tensor is offered once for each place that uses it.
            if optional or gguf.has(out, name):
                return
            if not job.fused and "ffn_gate_up_exps.weight" in name:
                for part, half in zip(("gate", "up"), np.split(values, 2, axis=1), strict=True):
                    gguf.add(out, gguf.copy(name.replace("gate_up", part), np.ascontiguousarray(half)))
            else:
                gguf.add(out, tensor)
                made[name] = tensor
        except BaseException as error:  # ctypes would print it and go on
            failures.append(error)

    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = False
    parameters.n_gpu_layers = 0
    parameters.load_mtp = bool(job.prediction_type)
    callback = llama_cpp.llama_model_set_tensor_data_t(fill)
    model = llama_cpp.llama_model_init_from_user(wanted, callback, None, parameters)
    if failures:
        raise failures[0]
    if not model:
        raise RuntimeError("llama_model_init_from_user refused the metadata")
    if job.prediction_type:
        _add_prediction_layer(gguf, out, made, job)
    gguf.write(out, Path(job.path))
    llama_cpp.llama_model_free(model)


def _add_prediction_layer(gguf: "_Gguf", out: int, made: dict[str, int], job: _Job) -> None:
    """Give the last layer's matrices their type; where llama.cpp never makes that layer, copy the one before."""
    import numpy as np

    sizes = sizes_of(job.architecture, job.layers)
    last = f"blk.{sizes.layers - 1}."
    mine = {name: tensor for name, tensor in made.items() if name.startswith(last)}
    if not mine:
        before = f"blk.{sizes.layers - 2}."
        for name, tensor in made.items():
            if name.startswith(before):
                copied = name.replace(before, last)
                gguf.add_as(out, tensor, copied)
                mine[copied] = tensor
        for part, shape in (("eh_proj", (2 * sizes.embedding, sizes.embedding)), ("enorm", (sizes.embedding,))):
            gguf.add_new(out, f"{last}nextn.{part}.weight", shape)
        gguf.add_new(out, f"{last}nextn.hnorm.weight", (sizes.embedding,))
    if job.prediction_type == "F16":
        for name, tensor in mine.items():
            if name.endswith(".weight") and len(gguf.shape(tensor)) > 1:
                count = gguf.size_bytes(tensor) // 4
                values = np.ctypeslib.as_array((ctypes.c_float * count).from_address(gguf.data(tensor)))
                gguf.retype(out, name, _GGML_F16, values.astype(np.float16).tobytes())


class _Gguf:
    """The few functions of ggml's C interface that are needed here; tensors and contexts are addresses."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._kept: list[Any] = []  # what the written tensors' data points to
        pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
        self._create = self._function("gguf_init_empty", pointer)
        self._set = {
            bool: self._function("gguf_set_val_bool", None, pointer, text, ctypes.c_bool),
            int: self._function("gguf_set_val_u32", None, pointer, text, ctypes.c_uint32),
            float: self._function("gguf_set_val_f32", None, pointer, text, ctypes.c_float),
        }
        self._set_text = self._function("gguf_set_val_str", None, pointer, text, text)
        self._set_array = self._function("gguf_set_arr_data", None, pointer, text, ctypes.c_int, pointer, size)
        self._set_texts = self._function("gguf_set_arr_str", None, pointer, text, pointer, size)
        self._find = self._function("gguf_find_tensor", ctypes.c_int64, pointer, text)
        self.add = self._function("gguf_add_tensor", None, pointer, pointer)
        self._write = self._function("gguf_write_to_file", ctypes.c_bool, pointer, text, ctypes.c_bool)
        self._name = self._function("ggml_get_name", text, pointer)
        self._dimensions = self._function("ggml_n_dims", ctypes.c_int, pointer)
        self.size_bytes = self._function("ggml_nbytes", size, pointer)
        self.data = self._function("ggml_get_data", pointer, pointer)
        self._rename = self._function("ggml_set_name", pointer, pointer, text)
        self._set_type = self._function("gguf_set_tensor_type", None, pointer, text, ctypes.c_int)
        self._set_data = self._function("gguf_set_tensor_data", None, pointer, text, pointer)
        self._initialize = self._function("ggml_init", pointer, _Memory)
        self._new = self._function("ggml_new_tensor", pointer, pointer, ctypes.c_int, ctypes.c_int, pointer)

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, list(arguments)
        return function

    def create(self, keys: dict[str, Value]) -> int:
        context: int = self._create()
        for key, value in keys.items():
            self._put(context, key.encode(), value)
        return context

    def _put(self, context: int, key: bytes, value: Value) -> None:
        if isinstance(value, str):
            self._set_text(context, key, value.encode())
        elif isinstance(value, bool | int | float):
            self._set[type(value)](context, key, value)
        elif isinstance(value, Uint64s):
            wide = (ctypes.c_uint64 * len(value.values))(*value.values)
            self._set_array(context, key, _GGUF_UINT64, wide, len(wide))
        elif all(isinstance(item, str) for item in value):
            texts = (ctypes.c_char_p * len(value))(*[str(item).encode() for item in value])
            self._set_texts(context, key, texts, len(texts))
        elif all(isinstance(item, int) for item in value):
            whole = (ctypes.c_uint32 * len(value))(*[int(item) for item in value])
            self._set_array(context, key, _GGUF_UINT32, whole, len(whole))
        else:
            real = (ctypes.c_float * len(value))(*[float(item) for item in value])
            self._set_array(context, key, _GGUF_FLOAT32, real, len(real))

    def add_as(self, context: int, tensor: int, name: str) -> None:
        """Add the tensor by another name."""
        own = self.name(tensor)
        self._rename(tensor, name.encode())
        self.add(context, tensor)
        self._rename(tensor, own.encode())

    def add_new(self, context: int, name: str, shape: tuple[int, ...]) -> None:
        """Add zeros in F32; shape: fastest dimension first."""
        tensor = self._new(self._initialize(_Memory(1 << 20, None, True)), 0, len(shape), (ctypes.c_int64 * 4)(*shape))
        self._rename(tensor, name.encode())
        self.add(context, tensor)
        self._kept.append(bytes(self.size_bytes(tensor)))
        self._set_data(context, name.encode(), self._kept[-1])

    def retype(self, context: int, name: str, kind: int, content: bytes) -> None:
        """Give an added tensor another type and content."""
        self._set_type(context, name.encode(), kind)
        self._kept.append(content)
        self._set_data(context, name.encode(), content)

    def copy(self, name: str, values: "np.ndarray[Any, Any]") -> int:
        """A tensor of these numbers, F32, for as long as the process lives."""
        memory = self._initialize(_Memory(values.nbytes + (1 << 20), None, False))
        tensor: int = self._new(memory, 0, values.ndim, (ctypes.c_int64 * 4)(*reversed(values.shape)))
        self._rename(tensor, name.encode())
        ctypes.memmove(self.data(tensor), values.ctypes.data, values.nbytes)
        return tensor

    def has(self, context: int, name: str) -> bool:
        return int(self._find(context, name.encode())) >= 0

    def name(self, tensor: int) -> str:
        return bytes(self._name(tensor)).decode()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Outermost dimension first, as numpy has it; `ne` follows type and buffer in ggml_tensor."""
        sizes = (ctypes.c_int64 * 4).from_address(tensor + 16)
        return tuple(reversed(sizes[: max(1, self._dimensions(tensor))]))

    def write(self, context: int, path: Path) -> None:
        if not self._write(context, str(path).encode(), False):
            raise RuntimeError(f"ggml could not write {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="the model's parameters as JSON")
    _make(_Job(**json.loads(parser.parse_args().job)))


if __name__ == "__main__":
    main()
