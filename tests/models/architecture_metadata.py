"""The GGUF metadata of a small model of each architecture that llama.cpp can build from metadata alone.

Key names are llama.cpp's (`src/llama-arch.cpp`). Which of them an architecture asks for follows llama.cpp's
own architecture test (`tests/test-llama-archs.cpp`); a key that an architecture does not know is ignored, so
one list serves nearly all and only exceptions are named. Sizes are our own: eight experts of which two are
used, so that a small cache of experts has something to replace.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_MOE = """
llama llama4 grok refact qwen2moe qwen3moe qwen3next qwen3vlmoe qwen35moe qwen4exp phimoe minicpm maple
cohere2moe dbrx olmoe arctic deepseek deepseek2 deepseek32 deepseek4 glm4moe glm-dsa exaone-moe granite
granitemoe bailingmoe bailingmoe2 bailingmoe3 dots1 dots3note afmoe laguna ernie4_5 ernie4_5-moe hunyuan-moe
hy_v3 hy_v4 gpt-oss lfm2moe smallthinker llada-moe grovemoe minimax-01 minimax-m2 minimax-m3 rnd1 mistral3
mistral4 paddleocr mimo2 step35 kimi-linear kimi-k3 glm5-next mellum gemma4 deepseek2-ocr
"""

_DENSE = """
llama deci falcon gpt2 gptneox mpt baichuan starcoder refact bloom stablelm qwen qwen2 qwen2vl qwen3 qwen3vl
qwen35 phi2 phi3 plamo plamo2 plamo3 codeshell orion internlm2 minicpm minicpm3 gemma gemma2 gemma3 gemma3n
starcoder2 mamba mamba2 jamba falcon-h1 xverse command-r cohere2 olmo olmo2 muse-glimmer openelm chatglm glm4
bitnet t5 jais jais2 nemotron nemotron_h nemotron_h_moe exaone exaone4 granite granitemoe granitehybrid
granite_swa arcee hunyuan-dense hunyuan_vl smollm3 lfm2 dream llada seed_oss apertus hrm_text cogvlm
pangu-embedded mistral3 spark2_5 maincoder talkie nanbeige qwen3tts pockettts gemma4 rwkv6 rwkv6qwen2 rwkv7
arwkv7
"""

_ENCODERS = "bert modern-bert nomic-bert neo-bert eurobert gemma-embedding llama-embed"

_MLA = {
    *("deepseek2", "deepseek32", "glm-dsa", "dots3note", "kimi-linear"),
    *("bailingmoe3", "kimi-k3", "glm5-next", "mistral4", "hy_v4"),
}
_RECURRENT_SECOND_LAYER = {
    *("plamo2", "jamba", "nemotron_h", "nemotron_h_moe", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear"),
    *("bailingmoe3", "kimi-k3", "glm5-next"),
}
_PATTERN_PER_LAYER = {
    *("cohere2moe", "mimo2", "step35", "spark2_5", "muse-glimmer", "granite_swa", "dots3note", "maple"),
}
_PREDICTING = {
    *("glm4moe", "qwen3next", "qwen35moe", "mimo2", "deepseek2", "deepseek32", "glm-dsa", "hy_v3", "step35"),
    *("cohere2moe", "bailingmoe3", "glm5-next", "qwen35", "glm4", "exaone4"),
}
# Layer counts that llama.cpp hard-codes or that a pattern needs.
_FIXED_LAYERS = {"gemma3n": 22, "deepseek4": 4, "hrm_text": 6}
_DEFAULT_LAYERS = {"nemotron_h": 5, "nemotron_h_moe": 5, "gemma4": 6}
_RWKV = {"rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_CONTEXT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Uint64s:
    """An array that llama.cpp wants as 64-bit; plain lists of int are written as 32-bit."""

    values: tuple[int, ...]


Value = bool | int | float | str | list[int] | list[float] | list[str] | Uint64s


@dataclass(frozen=True, slots=True)
class Sizes:
    """The dimensions that every other number of a model follows from."""

    vocabulary: int = 128
    embedding: int = 256
    heads: int = 2
    kv_heads: int = 2
    feed_forward: int = 384
    layers: int = 4

    @property
    def head(self) -> int:
        return self.embedding // self.heads


def list_architectures() -> list[tuple[str, bool]]:
    """(architecture, is a mixture of experts) of every model that can be made."""
    return [(name, True) for name in _MOE.split()] + [(name, False) for name in _DENSE.split()]


def list_encoders() -> list[tuple[str, bool]]:
    """(architecture, False) of models that turn text into vectors and do nothing else."""
    return [(name, False) for name in _ENCODERS.split()]


def list_predicting() -> list[tuple[str, bool]]:
    """Of those, the ones that can have a layer for multi-token prediction (MTP)."""
    return [(name, moe) for name, moe in list_architectures() if name in _PREDICTING]


def sizes_of(architecture: str, layers: int | None = None) -> Sizes:
    """Sizes for the architecture; `layers` is refused where llama.cpp fixes the count."""
    fixed = _FIXED_LAYERS.get(architecture)
    if fixed is not None and layers is not None and layers != fixed:
        raise ValueError(f"{architecture} has {fixed} layers in llama.cpp, so layers={layers} cannot be made")
    count = fixed or layers or _DEFAULT_LAYERS.get(architecture, 4)
    if architecture == "gemma3n":
        return Sizes(embedding=64, heads=1, kv_heads=1, feed_forward=96, layers=count)
    if architecture == "deepseek4":
        return Sizes(embedding=512, heads=8, kv_heads=1, feed_forward=1024, layers=count)
    if architecture in _MLA:
        return Sizes(embedding=128, heads=1, kv_heads=1, feed_forward=192, layers=count)
    if architecture in ("step35", "laguna"):
        return Sizes(embedding=160, layers=count)
    if architecture == "qwen3":
        return Sizes(heads=4, kv_heads=1, layers=count)
    if architecture in ("muse-glimmer", "afmoe"):
        return Sizes(heads=4, kv_heads=2, layers=count)
    if architecture == "qwen3tts":
        return Sizes(vocabulary=3072, layers=count)
    return Sizes(layers=count)


def made_of(architecture: str, moe: bool) -> bool:
    """Whether llama.cpp makes it as a mixture: where layers may have experts it makes some in each, or none can be."""
    return moe or architecture == "gemma4"


def left_out(architecture: str, moe: bool, layers: int, shared_kv_layers: int) -> str:
    """A regular expression of optional tensors that files have not, though llama.cpp makes them all."""
    if architecture == "rwkv6":
        return r".*time_mix_lerp_[wkvrg]\.weight"  # a file has these, or the one that holds all five
    if architecture == "rwkv6qwen2":
        return r".*time_mix_first\.weight"  # without it, it is one
    if architecture != "gemma4":
        return r"(?!)"
    whole = "|".join(str(layer) for layer in range(1, layers, 2))
    shared = "|".join(str(layer) for layer in range(layers - shared_kv_layers, layers))
    dense = "" if moe else r"|blk\.\d+\.(ffn_gate_inp|ffn_.*_exps|pre_ffw_norm_2|post_ffw_norm_[12])\..*"
    # Layers that attend to everything use K as V; those that share K and V have none.
    none = rf"|blk\.({shared})\.attn_(k|v|k_norm)\..*" if shared else ""
    return rf"blk\.({whole})\.attn_v\..*{none}{dense}"


def metadata(
    architecture: str,
    moe: bool,
    sizes: Sizes,
    *,
    experts: int = 8,
    experts_used: int = 2,
    expert_feed_forward: int | None = None,
    prediction_layers: int = 0,
    more: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """Every metadata key of the model, in the order they are written.

    prediction_layers: how many of its layers predict further tokens (MTP). more: keys of the architecture, added or
    instead.
    """
    if (architecture, moe) not in list_architectures() + list_encoders():
        kind = "mixture-of-experts" if moe else "dense"
        raise ValueError(f"no {kind} model of {architecture!r} can be made; see list_architectures()")
    ff = (expert_feed_forward or sizes.feed_forward) if moe else sizes.feed_forward
    keys: dict[str, Value] = {
        **_shape(architecture, sizes, ff),
        **_attention(architecture, sizes),
        **_indexer(architecture, sizes),
        **_recurrent(architecture, sizes),
        **(_gemma4(sizes) if architecture == "gemma4" else {}),
        **_other(architecture, sizes),
    }
    if moe:
        keys |= _experts(architecture, ff, experts, experts_used)
    if architecture in ("qwen4exp", "glm5-next"):
        keys |= _per_layer_embeddings(sizes)
    if prediction_layers:
        keys |= {"nextn_predict_layers": prediction_layers}
    keys |= more or {}
    prefixed = {f"{architecture}.{key}": value for key, value in keys.items()}
    tokens = [f"tok_{number}" for number in range(sizes.vocabulary)]
    return {
        "general.architecture": architecture,
        **prefixed,
        # xIELU's keys carry no architecture (apertus).
        "xielu.alpha_n": 1.0,
        "xielu.alpha_p": 1.0,
        "xielu.beta": 1.0,
        "xielu.eps": 1e-7,
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.model": "test",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * sizes.vocabulary,
    }


def _shape(architecture: str, sizes: Sizes, ff: int) -> dict[str, Value]:
    per_layer: Value = ff
    if architecture in ("nemotron_h", "nemotron_h_moe"):
        per_layer = [0 if layer <= 1 else ff for layer in range(sizes.layers)]
    return {
        "vocab_size": sizes.vocabulary,
        "context_length": _CONTEXT_TOKENS,
        "embedding_length": sizes.embedding,
        "features_length": sizes.embedding,
        "block_count": sizes.layers,
        "leading_dense_block_count": 1,
        "feed_forward_length": per_layer,
        "full_attention_interval": 2,
        "use_parallel_residual": False,
        "logit_scale": 1.0,
    }


def _attention(architecture: str, sizes: Sizes) -> dict[str, Value]:
    heads: Value = sizes.heads
    kv_heads: Value = sizes.kv_heads
    if architecture in _RECURRENT_SECOND_LAYER:
        kv_heads = [0 if layer == 1 else sizes.heads for layer in range(sizes.layers)]
        if architecture != "glm5-next":
            heads = kv_heads
    pattern: Value = 2
    if architecture in _PATTERN_PER_LAYER:
        pattern = [layer % 2 for layer in range(sizes.layers)]
    sections = [8, 12, 12, 0] if architecture == "bailingmoe3" else [sizes.head // 4] * 4
    keys: dict[str, Value] = {
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "attention.max_alibi_bias": 8.0,
        "attention.clamp_kqv": 1.0,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.group_norm_epsilon": 1e-5,
        "attention.group_norm_groups": 8,
        "attention.q_lora_rank": 64 if architecture == "deepseek4" else 512,
        "attention.kv_lora_rank": 512,
        "attention.relative_buckets_count": 8,
        "attention.sliding_window": _CONTEXT_TOKENS // 8,
        "attention.sliding_window_pattern": pattern,
        "rope.dimension_sections": sections,
    }
    if architecture == "deepseek4":
        keys |= {
            "attention.key_length": sizes.head,
            "attention.value_length": sizes.head,
            "rope.dimension_count": sizes.head // 2,
            "attention.output_group_count": 8,
            "attention.output_lora_rank": 32,
            "attention.compress_ratios": [0, 0, 4, 128],
            "attention.compress_rope_freq_base": 160000.0,
        }
    if architecture in _MLA:
        no_rope = architecture == "glm5-next"
        keys |= {
            "attention.key_length": 512 if no_rope else 576,
            "attention.value_length": 512,
            "rope.dimension_count": 0 if no_rope else 64,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
        }
    if architecture == "dots3note":
        keys |= {
            "attention.kv_lora_rank_swa": 512,
            "attention.key_length_swa": 576,
            "attention.value_length_swa": 512,
            "attention.key_length_mla_swa": 192,
            "attention.value_length_mla_swa": 128,
            "rope.freq_base_swa": 10000.0,
        }
    if architecture == "minimax-m3":
        keys |= {"rope.dimension_count": 64}
    return keys


def _gemma4(sizes: Sizes) -> dict[str, Value]:
    """Every second layer attends to everything, with wider heads and fewer of K and V than a window's; the last two
    use the K and V of earlier layers."""
    full = [layer % 2 == 1 for layer in range(sizes.layers)]
    return {
        "embedding_length_per_layer_input": 32,
        "attention.shared_kv_layers": 2,
        "attention.head_count_kv": [1 if whole else sizes.kv_heads for whole in full],
        "attention.key_length": sizes.head,
        "attention.value_length": sizes.head,
        "attention.key_length_swa": sizes.head // 2,
        "attention.value_length_swa": sizes.head // 2,
        "rope.dimension_count": sizes.head,
        "rope.dimension_count_swa": sizes.head // 2,
        "rope.freq_base_swa": 10000.0,
        "final_logit_softcapping": 30.0,
        "attention.sliding_window_pattern": [int(not whole) for whole in full],
    }


def _indexer(architecture: str, sizes: Sizes) -> dict[str, Value]:
    keys: dict[str, Value] = {
        "attention.indexer.head_count": sizes.heads if architecture == "minimax-m3" else 64,
        "attention.indexer.key_length": sizes.head if architecture == "qwen4exp" else 128,
        # Large enough to select everything: a tight choice would flip on the last bit of a score.
        "attention.indexer.top_k": 131072,
        "attention.indexer.block_size": 4,
        "attention.indexer.kpool": 4,
        "attention.indexer.kpool_select_tail": True,
        "attention.indexer.local_blocks": 1,
    }
    if architecture in ("dots3note", "hy_v4"):
        keys |= {"attention.indexer.types": [1 - layer % 2 for layer in range(sizes.layers)]}
    return keys


def _recurrent(architecture: str, sizes: Sizes) -> dict[str, Value]:
    fixed_inner = architecture in ("qwen3next", "qwen35", "qwen35moe", "qwen4exp")
    keys: dict[str, Value] = {
        "ssm.inner_size": 256 if fixed_inner else 2 * sizes.embedding,
        "ssm.conv_kernel": 4,
        "ssm.state_size": 128,
        "ssm.time_step_rank": sizes.heads,
        "ssm.group_count": 0 if architecture == "plamo2" else 2,
        "kda.head_dim": 128,
        "kda.gate_lower_bound": -5.0,
        "wkv.head_size": sizes.head,
        "shortconv.l_cache": 3,
        "time_mix_extra_dim": 64,
        "time_decay_extra_dim": 128,
    }
    if architecture != "bailingmoe3":
        keys |= {"kda.safe_gate": True}
    if architecture in _RWKV:
        keys |= {
            "attention.head_count": 0,
            "attention.head_count_kv": 0,
            "wkv.head_size": 64,
            "token_shift_count": 1 if architecture in ("rwkv6qwen2", "arwkv7") else 2,
            "attention.decay_lora_rank": 32,
            "attention.iclr_lora_rank": 32,
            "attention.value_residual_mix_lora_rank": 16,
            "attention.gate_lora_rank": 64,
        }
    return keys


def _other(architecture: str, sizes: Sizes) -> dict[str, Value]:
    keys: dict[str, Value] = {
        "residual_scale": 3.5565588200778455,
        "attn_res.block_size": 12,
        "activation.situ_beta": 4.0,
        "activation.situ_linear_beta": 25.0,
    }
    if architecture == "bailingmoe3":
        later = sizes.layers - 1
        keys |= {"swiglu_clamp_exp": [0.0] + [4.0] * later, "swiglu_clamp_shexp": [0.0] + [5.0] * later}
    if architecture == "maple":
        keys |= {"swiglu_clamp_exp": 7.0}
    if architecture in ("hy_v4", "deepseek4"):
        keys |= {
            "hyper_connection.count": 4,
            "hyper_connection.epsilon": 1e-6,
            "swiglu_clamp_exp": 10.0,
            "expert_weights_scale": 1.0,
            "expert_weights_norm": True,
        }
    if architecture == "hy_v4":
        keys |= {"hyper_connection.magnitude": 2.0}
    if architecture == "deepseek4":
        keys |= {"hyper_connection.sinkhorn_iterations": 2, "hash_layer_count": 0}
    if architecture == "hrm_text":
        keys |= {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 2}
    return keys


def _experts(architecture: str, ff: int, experts: int, experts_used: int) -> dict[str, Value]:
    return {
        "expert_feed_forward_length": ff,
        "expert_shared_feed_forward_length": ff // 2,
        "expert_latent_length": ff,
        "interleave_moe_layer_step": 2,
        "expert_count": experts,
        "expert_used_count": experts_used,
        "expert_shared_count": 1,
        # 4: square root of softplus, 2: sigmoid.
        "expert_gating_func": 4 if architecture == "deepseek4" else 2,
        "expert_group_scale": 1.0,
        "experts_per_group": 1,
    }


def _per_layer_embeddings(sizes: Sizes) -> dict[str, Value]:
    """Hyper-connections and the n-gram embeddings of qwen4exp and glm5-next."""
    ngram, heads_per_ngram = 3, 2
    heads = (ngram - 1) * heads_per_ngram
    return {
        "hyper_connection.count": 4,
        "hyper_connection.sinkhorn_iterations": 2,
        "hyper_connection.epsilon": 1e-6,
        "hyper_connection.low_rank": 8,
        "attention.compress_ratios": [4] * sizes.layers,
        "ple.layers": [0],
        "ple.ngram_size": ngram,
        "ple.heads_per_ngram": heads_per_ngram,
        "ple.conv_kernel": 4,
        "ple.eos_token_id": 0,
        "embedding_length_per_layer_input": sizes.embedding // heads,
        "ple.layer_multipliers": Uint64s((1, 3, 5)),
        "ple.head_offsets": Uint64s(tuple(head * sizes.vocabulary for head in range(heads))),
        "ple.head_vocab_sizes": Uint64s((sizes.vocabulary,) * heads),
    }
