"""Whether repacked weights compute here what plain ones do: `python -m hypura_worker.tools.self_test MODEL`.

probe ─► writes a tiny model ─► this program, in a process of its own: it may die of a signal
      ◄── exit status 0, or the reason on standard error
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import llama_cpp  # before numpy: see hypura_worker.llama.library
import numpy as np
import numpy.typing as npt

from hypura_worker.llama.weights import load_files

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


def extra_buffers_work(
    program: Sequence[str] = (sys.executable, "-m", "hypura_worker.tools.self_test"),
) -> tuple[bool, str]:
    """Whether a model decodes with repacked weights, and why not.

    Some virtual machines announce AMX and fault at its first instruction, so another process tries it.
    """
    with tempfile.TemporaryDirectory(prefix="hypura-probe-") as folder:
        model = Path(folder) / "self-test.gguf"
        write_model(model)
        command = (*program, str(model))
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
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return False, f"the self-test failed: {lines[-1] if lines else 'it gave no reason'}"


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


if __name__ == "__main__":
    sys.exit(_self_test(Path(sys.argv[1])))
