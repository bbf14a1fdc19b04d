"""What llama.cpp finds on this machine, as one JSON object: `python -m hypura_worker.tools.probe`.

daemon ─► probe ─► devices, a worker's base memory, memory bandwidth, speed by type of weights
            └────► self-test of extra buffers, in a child of its own: it may die of a signal
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from ctypes import c_char_p, c_int32, c_size_t, c_void_p
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import llama_cpp  # before numpy: see hypura_worker.llama.library
import numpy as np
import numpy.typing as npt

from hypura_worker import runtime
from hypura_worker.llama.library import ggml
from hypura_worker.llama.weights import load_files

_MODULE = "hypura_worker.tools.probe"
_TYPE_GPU, _TYPE_INTEGRATED_GPU = 1, 2  # ggml_backend_dev_type, ggml-backend.h
_BANDWIDTH_SECONDS = 0.5
_BANDWIDTH_BYTES = 256 << 20  # well above any cache that all cores share
_BANDWIDTH_CHUNK_BYTES = 4 << 20
_SELF_TEST_SECONDS = 60.0
_SELF_TEST_THREADS = 2
_PROMPT_TOKENS = 16  # tiled kernels start at 8 rows
_SINGLE_TOKENS = 3
_VOCABULARY = 64
_WIDTH, _HIDDEN, _LAYERS = 256, 512, 4
# What repacked kernels may differ by: they quantise activations in other blocks.
_LEAST_COSINE = 0.99
# type: elements and bytes per block, (offset, scale) of the block's half-precision scales
# (ggml-common.h); the scales give weights of the order of 0.03.
_BLOCKS = {
    "Q4_0": (32, 18, ((0, 0.007),)),
    "Q8_0": (32, 34, ((0, 0.0004),)),
    "Q4_K": (256, 144, ((0, 0.0002), (2, 0.0015))),
    "Q6_K": (256, 210, ((208, 0.00002),)),
}
_ROTATION = tuple(_BLOCKS)


def main(arguments: Sequence[str]) -> int:
    """The exit code; the JSON object goes to standard output, everything else to standard error."""
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that measure memory")
    parser.add_argument("--devices-only", action="store_true", help="measure nothing")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    parser.add_argument("--folder", help="where temporary files go; removed when standard input closes")
    parser.add_argument("--self-test", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be at least 1, not {options.threads}")
    answer = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    if options.self_test is not None:
        return _self_test(options.self_test)
    tempfile.tempdir = options.folder
    if options.end_with_stdin:
        runtime.end_with_parent(lambda: _remove(options.folder))
    # Before the devices, whose drivers take memory that a worker without a GPU does not.
    base_bytes = 0 if options.devices_only else worker_base_bytes()
    report: dict[str, object] = {
        "llama_cpp_python_version": version("llama-cpp-python"),
        "gpus": gpus(),
        "measured": None,
    }
    if not options.devices_only:
        from hypura_worker.tools.speeds import type_speeds  # here: its imports would count as a worker's

        works, verdict = extra_buffers_work()
        report["measured"] = {
            "memory_bytes_per_second": memory_bytes_per_second(options.threads),
            "worker_base_bytes": base_bytes,
            "extra_buffers_work": works,
            "extra_buffers_verdict": verdict,
            "type_speeds": [
                {"type": name, "bytes_per_second": speed} for name, speed in type_speeds(options.threads).items()
            ],
        }
    with os.fdopen(answer, "w") as stream:
        print(json.dumps(report), file=stream)
    return 0


def gpus() -> list[dict[str, object]]:
    """ggml's GPUs: name, description, total_bytes, free_bytes, unified."""
    llama_cpp.llama_backend_init()
    devices = []
    for index in range(_ggml("ggml_backend_dev_count", c_size_t)()):
        device = _ggml("ggml_backend_dev_get", c_void_p, c_size_t)(index)
        kind = _ggml("ggml_backend_dev_type", c_int32, c_void_p)(device)
        if kind not in (_TYPE_GPU, _TYPE_INTEGRATED_GPU):
            continue
        name = _ggml("ggml_backend_dev_name", c_char_p, c_void_p)(device).decode(errors="replace")
        description = _ggml("ggml_backend_dev_description", c_char_p, c_void_p)(device).decode(errors="replace")
        free, total = c_size_t(), c_size_t()
        _ggml("ggml_backend_dev_memory", None, c_void_p, c_void_p, c_void_p)(
            device, ctypes.addressof(free), ctypes.addressof(total)
        )
        # Metal calls itself a GPU, not an integrated one (ggml-metal.cpp).
        metal = name.startswith(("MTL", "Metal")) and os.uname().machine == "arm64"
        devices.append(
            {
                "name": name,
                "description": description,
                "total_bytes": total.value,
                "free_bytes": free.value,
                "unified": kind == _TYPE_INTEGRATED_GPU or metal,
            }
        )
    return devices


def worker_base_bytes() -> int:
    """Resident memory of a worker that serves and has loaded nothing."""
    import grpc
    from grpc_health.v1 import health

    async def serve(folder: str) -> int:
        server = grpc.aio.server()
        health.aio.HealthServicer()  # type: ignore[attr-defined]
        server.add_insecure_port(f"unix:{quote(folder)}/socket")
        await server.start()
        resident_bytes = runtime.resident_bytes()
        await server.stop(None)
        return resident_bytes

    with (
        tempfile.TemporaryDirectory(prefix="hypura-") as folder,
        asyncio.Runner(loop_factory=runtime.event_loop_factory()) as runner,
    ):
        return runner.run(serve(folder))


def memory_bytes_per_second(threads: int) -> float:
    """Read bandwidth of so many threads together, each over its own part of an array beyond the caches."""
    array = np.ones(_BANDWIDTH_BYTES // 8, np.int64)  # ones, since untouched zeros are one shared page
    chunks = np.array_split(array, max(threads, _BANDWIDTH_BYTES // _BANDWIDTH_CHUNK_BYTES))
    read_bytes = [0] * threads
    gate = threading.Barrier(threads + 1)
    deadline = [0.0]

    def read(number: int) -> None:
        gate.wait()
        while True:
            for chunk in chunks[number::threads]:
                chunk.sum()  # lets go of the interpreter's lock
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


def extra_buffers_work(program: Sequence[str] = (sys.executable, "-m", _MODULE)) -> tuple[bool, str]:
    """Whether a model decodes with repacked weights, and why not.

    Some virtual machines announce AMX and fault at its first instruction, so a child tries it.
    """
    with tempfile.TemporaryDirectory(prefix="hypura-probe-") as folder:
        model = Path(folder) / "self-test.gguf"
        write_model(model)
        command = (*program, "--self-test", str(model))
        # ggml would attach a debugger to a process that aborts.
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=_SELF_TEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, f"the self-test did not end within {_SELF_TEST_SECONDS:g} s"
    if ended.returncode == 0:
        return True, "the self-test passed"
    if ended.returncode < 0:
        return False, f"the self-test died of signal {-ended.returncode} ({signal.strsignal(-ended.returncode)})"
    words = ended.stderr.decode(errors="replace").strip().splitlines()
    return False, f"the self-test failed: {words[-1] if words else 'it gave no reason'}"


def write_model(path: Path) -> None:
    """A tiny random llama model, each layer in another of the types that are repacked."""
    import gguf

    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_tokenizer_model("none")
    writer.add_tensor("token_embd.weight", rng.standard_normal((_VOCABULARY, _WIDTH), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (_WIDTH, _WIDTH))
    shapes |= {"ffn_gate": (_HIDDEN, _WIDTH), "ffn_up": (_HIDDEN, _WIDTH), "ffn_down": (_WIDTH, _HIDDEN)}
    for layer in range(_LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(_WIDTH, np.float32))
        kind = _ROTATION[layer % len(_ROTATION)]
        for name, shape in shapes.items():
            data = _random_blocks(rng, kind, shape)
            number = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=number)
    kind = _ROTATION[0]
    data = _random_blocks(rng, kind, (_VOCABULARY, _WIDTH))
    writer.add_tensor("output.weight", data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _random_blocks(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """[rows, bytes per row] of a matrix of this type, with sane scales."""
    elements, block_bytes, scales = _BLOCKS[kind]
    blocks = rng.integers(0, 256, (shape[0] * shape[1] // elements, block_bytes), np.uint8)
    for offset, scale in scales:
        blocks[:, offset : offset + 2] = np.frombuffer(struct.pack("<e", scale), np.uint8)
    return blocks.reshape(shape[0], -1)


def _self_test(path: Path) -> int:
    """Decode without and with extra buffers; 0 when both gave the same logits but for rounding."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    plain, repacked = _decode(path, extra_buffers=False), _decode(path, extra_buffers=True)
    if not (np.isfinite(plain).all() and np.isfinite(repacked).all()):
        print("logits are not finite", file=sys.stderr)
        return 1
    norms = np.linalg.norm(plain, axis=1) * np.linalg.norm(repacked, axis=1)
    cosines = (plain * repacked).sum(axis=1) / np.maximum(norms, 1e-30)
    if cosines.min() < _LEAST_COSINE:
        print(f"logits differ: least cosine {cosines.min():.4f}", file=sys.stderr)
        return 1
    return 0


def _decode(path: Path, *, extra_buffers: bool) -> npt.NDArray[np.float32]:
    """[1 + single tokens, vocabulary]: logits after a prompt, and after each of a few tokens more, on the CPU."""
    llama_cpp.llama_backend_init()
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model_params.use_extra_bufts = extra_buffers
    model = load_files([str(path)], model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 64
    params.n_batch = params.n_ubatch = _PROMPT_TOKENS
    params.n_threads = params.n_threads_batch = _SELF_TEST_THREADS
    context = llama_cpp.llama_init_from_model(model, params) if model else None
    if not context:
        raise SystemExit("the self-test's model could not be loaded")
    rows = []
    tokens = np.random.default_rng(2).integers(0, _VOCABULARY, _PROMPT_TOKENS + _SINGLE_TOKENS)
    for part in (tokens[:_PROMPT_TOKENS], *np.split(tokens[_PROMPT_TOKENS:], _SINGLE_TOKENS)):
        array = (llama_cpp.llama_token * len(part))(*part.tolist())
        result = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(part)))
        if result != 0:
            raise SystemExit(f"llama_decode returned {result}")
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        rows.append(np.array(np.ctypeslib.as_array(logits, (_VOCABULARY,))))
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return np.stack(rows)


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _ggml(name: str, result: type[Any] | None, *arguments: type[Any]) -> ctypes._NamedFuncPointer:
    """A function of ggml, as llama.cpp uses it."""
    function = getattr(ggml(), name, None)
    if function is None:
        raise SystemExit(f"libggml has no {name}; reinstall llama-cpp-python")
    function.restype, function.argtypes = result, list(arguments)
    return function  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
