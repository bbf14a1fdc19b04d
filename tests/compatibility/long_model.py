"""A model trained for 131,072 tokens that says one word, so small that a prompt of 30,000 tokens takes seconds.

It has the demo model's vocabulary and chat template. Its one layer adds nothing, so the next token depends on the last
alone: the word follows on every other token, and the end follows on the word.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

CONTEXT_TOKENS = 131_072
WORD = "Hello"
_ARCHITECTURE = "qwen3"
_WIDTH, _HEADS, _HEAD_WIDTH, _FEED_FORWARD = 32, 1, 32, 32
_CERTAIN = 60.0
_DEMO = Path(__file__).parents[2] / "hypura_daemon" / "models" / "demo"


def write_long_model(path: Path) -> None:
    """Write it."""
    demo = gguf.GGUFReader(next(_DEMO.glob("*.gguf")))
    writer = gguf.GGUFWriter(path, _ARCHITECTURE)
    writer.add_name("says one word")
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_key_length(_HEAD_WIDTH)
    writer.add_value_length(_HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    for name, field in demo.fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            inner = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, inner)
    tokens = demo.fields["tokenizer.ggml.tokens"].contents()
    for name, tensor in _tensors(len(tokens), tokens.index(WORD), _end(demo)).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _end(demo: gguf.GGUFReader) -> int:
    return int(demo.fields["tokenizer.ggml.eos_token_id"].contents())


def _tensors(vocabulary: int, word: int, end: int) -> dict[str, np.ndarray]:
    heads = _HEADS * _HEAD_WIDTH
    embedding, output = np.zeros((vocabulary, _WIDTH), np.float32), np.zeros((vocabulary, _WIDTH), np.float32)
    embedding[:, 0], embedding[word] = 1.0, 0.0
    embedding[word, 1] = 1.0
    output[word, 0], output[end, 1] = _CERTAIN, _CERTAIN
    layer = {
        "attn_norm": np.ones(_WIDTH),
        "attn_q": np.zeros((heads, _WIDTH)),
        "attn_k": np.zeros((heads, _WIDTH)),
        "attn_v": np.zeros((heads, _WIDTH)),
        "attn_output": np.zeros((_WIDTH, heads)),
        "attn_q_norm": np.ones(_HEAD_WIDTH),
        "attn_k_norm": np.ones(_HEAD_WIDTH),
        "ffn_norm": np.ones(_WIDTH),
        "ffn_gate": np.zeros((_FEED_FORWARD, _WIDTH)),
        "ffn_up": np.zeros((_FEED_FORWARD, _WIDTH)),
        "ffn_down": np.zeros((_WIDTH, _FEED_FORWARD)),
    }
    return {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        "output.weight": output,
        **{f"blk.0.{name}.weight": tensor.astype(np.float32) for name, tensor in layer.items()},
    }
