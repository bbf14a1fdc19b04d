"""`python -m tests.demo_model.export`: a trained model's weights as a GGUF, quantised by llama.cpp.

weights.NN.npz ──► F16 (or F32) GGUF with all metadata ──► llama_model_quantize ──► Q4_K experts, Q8_0 rest
"""

import argparse
import contextlib
import ctypes
import sys
import tempfile
from pathlib import Path

import llama_cpp  # Before numpy: llama.cpp's C++ library has to be loaded first.

# isort: split
import gguf
import numpy as np

from tests.demo_model.shape import PAGE_BYTES, Shape
from tests.demo_model.template import template_source
from tests.demo_model.tokenizer import CONTROL, END_OF_TEXT, IM_END, MARKS, Tokenizer, shipped
from tests.demo_model.weights import Weights, load_weights

MAX_FILE_BYTES = 12_000_000
_ARCHITECTURE = "qwen3moe"
#: The module names of model.py, as llama.cpp names them.
_LAYER_TENSORS = {
    "attention_norm.weight": "attn_norm.weight",
    "attention.q": "attn_q.weight",
    "attention.k": "attn_k.weight",
    "attention.v": "attn_v.weight",
    "attention.output": "attn_output.weight",
    "attention.q_norm.weight": "attn_q_norm.weight",
    "attention.k_norm.weight": "attn_k_norm.weight",
    "experts_norm.weight": "ffn_norm.weight",
    "experts.router": "ffn_gate_inp.weight",
    "experts.gate": "ffn_gate_exps.weight",
    "experts.up": "ffn_up_exps.weight",
    "experts.down": "ffn_down_exps.weight",
}
_OTHER_TENSORS = {"embedding": "token_embd.weight", "norm.weight": "output_norm.weight"}
_FIM_KEYS = {"pre": "<|fim_prefix|>", "suf": "<|fim_suffix|>", "mid": "<|fim_middle|>", "pad": "<|fim_pad|>"}


def tensor_name(name: str) -> str:
    """llama.cpp's name for a parameter. Raises KeyError for one that is not the model's."""
    if name in _OTHER_TENSORS:
        return _OTHER_TENSORS[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{int(layer)}.{_LAYER_TENSORS[rest]}"


def _add_model(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("hypura demo")
    writer.add_description(
        "A very small mixture of experts that ships with hypura, trained on text of hypura's own generators"
    )
    writer.add_license("MIT")
    writer.add_author("the hypura project")
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.embedding)
    writer.add_feed_forward_length(shape.expert_width)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(shape.experts_used)
    writer.add_expert_feed_forward_length(shape.expert_width)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL) | dict.fromkeys(MARKS, gguf.TokenType.USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokenizer.tokens])
    writer.add_token_merges(tokenizer.merges)
    writer.add_bos_token_id(tokenizer.ids[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_eos_token_id(tokenizer.ids[IM_END])
    writer.add_eot_token_id(tokenizer.ids[IM_END])
    writer.add_pad_token_id(tokenizer.ids[END_OF_TEXT])
    for key, token in _FIM_KEYS.items():
        writer.add_uint32(f"tokenizer.ggml.fim_{key}_token_id", tokenizer.ids[token])
    writer.add_chat_template(template_source())


def write_gguf(path: Path, shape: Shape, weights: Weights, matrix_type: type[np.floating] = np.float16) -> None:
    """The model unquantised: norms and routers in 32 bits, matrices in matrix_type."""
    writer = gguf.GGUFWriter(path, _ARCHITECTURE)
    _add_model(writer, shape)
    _add_tokenizer(writer, shipped())
    for name, value in weights.items():
        narrow = value.ndim > 1 and not name.endswith("router")
        writer.add_tensor(tensor_name(name), np.ascontiguousarray(value.astype(matrix_type if narrow else np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise(source: Path, target: Path, threads: int = 2) -> None:
    """Experts Q4_K, all other matrices Q8_0, by llama.cpp. Raises RuntimeError when it refuses."""
    overrides = (llama_cpp.llama_model_tensor_override * 3)()
    overrides[0].pattern, overrides[0].type = rb"ffn_(gate|up|down)_exps\.weight", llama_cpp.GGML_TYPE_Q4_K
    overrides[1].pattern, overrides[1].type = rb"attn_(q|k|v|output)\.weight", llama_cpp.GGML_TYPE_Q8_0
    overrides[2].pattern = None
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.nthread = threads
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    parameters.token_embedding_type = llama_cpp.GGML_TYPE_Q8_0
    parameters.output_tensor_type = llama_cpp.GGML_TYPE_Q8_0
    parameters.tt_overrides = ctypes.cast(overrides, ctypes.POINTER(llama_cpp.llama_model_tensor_override))
    llama_cpp.llama_backend_init()
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    if code != 0:
        raise RuntimeError(f"llama.cpp could not quantise {source} (code {code}); its words are on stderr")


def check_file(path: Path) -> str:
    """Says what the file holds. Raises ValueError when it is too large or its experts are not whole pages of Q4_K."""
    size_bytes = path.stat().st_size
    kinds: dict[str, int] = {}
    for tensor in gguf.GGUFReader(path).tensors:
        kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
        if "_exps" in tensor.name:
            slice_bytes, rest = divmod(int(tensor.n_bytes), int(tensor.shape[-1]))
            if tensor.tensor_type.name != "Q4_K" or rest or slice_bytes % PAGE_BYTES:
                kind = tensor.tensor_type.name
                raise ValueError(
                    f"{tensor.name} is {kind} in slices of {slice_bytes} bytes; wanted Q4_K in whole pages"
                )
    if size_bytes > MAX_FILE_BYTES:
        raise ValueError(f"{path} has {size_bytes} bytes, more than {MAX_FILE_BYTES}; choose a smaller shape")
    return f"{path}: {size_bytes:,} bytes; " + ", ".join(f"{kind} {number:,}" for kind, number in sorted(kinds.items()))


def export(folder: Path, target: Path) -> str:
    """The weights in folder as a quantised GGUF; says what it holds."""
    shape, weights = load_weights(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.gguf"
        write_gguf(whole, shape, weights)
        quantise(whole, target)
    return check_file(target)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo_model.export", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--weights", required=True, type=Path, help="the folder that training wrote")
    parser.add_argument("--out", required=True, type=Path, help="the GGUF to write")
    parser.add_argument("--unquantised", action="store_true", help="write F16, for comparisons")
    arguments = parser.parse_args()
    try:
        if arguments.unquantised:
            write_gguf(arguments.out, *load_weights(arguments.weights))
            print(arguments.out)
        else:
            print(export(arguments.weights, arguments.out))
    except (OSError, ValueError, RuntimeError) as error:
        with contextlib.suppress(FileNotFoundError):
            arguments.out.unlink()
        print(f"no model was written: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
