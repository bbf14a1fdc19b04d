"""The role of a tensor in the network, by its name (LLM_TENSOR_NAMES in llama.cpp's llama-arch.cpp)."""

import re
from enum import Enum
from functools import lru_cache


class Role(Enum):
    """A tensor's role in the network; see TensorRole in placement.proto."""

    EMBEDDING = "embedding"
    NORM = "norm"
    ATTENTION = "attention"
    ROUTER = "router"
    DENSE_FFN = "dense_ffn"
    ROUTED_EXPERT = "routed_expert"
    EXPERT_VECTOR = "expert_vector"
    SHARED_EXPERT = "shared_expert"
    OUTPUT = "output"
    OTHER = "other"


_BLOCK = re.compile(r"blk\.(\d{1,6})\.(.+)", re.ASCII)
_ENCODER_BLOCK = re.compile(r"(?:enc|dec)\.blk\.\d{1,6}\.(.+)", re.ASCII)
_EXPERT_OF_OLD = re.compile(r"ffn_(?:gate|up|down)\.\d{1,6}", re.ASCII)

# The first pattern that matches the name after its block, without ".weight", decides.
_RULES: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(pattern, re.ASCII), role)
    for pattern, role in (
        (r"ffn_(?:gate|up|down|gate_up)_exps", Role.ROUTED_EXPERT),
        (r"ffn_(?:gate|up|down|gate_up)_exps\.\w+", Role.EXPERT_VECTOR),
        # One tensor per expert, in files of 2023; llama.cpp no longer loads them.
        (r"ffn_(?:gate|up|down)\.\d{1,6}", Role.ROUTED_EXPERT),
        # Grovemoe's second bank is shared by the experts of a group, and not streamed.
        (r"ffn_(?:gate|up|down|gate_up)_(?:shexp|chexps)(?:\.\w+)?", Role.SHARED_EXPERT),
        (r"(?:ffn_gate_inp|ffn_gate_inp_shexp|exp_probs_b|exp_probs_b_vl|ffn_gate_tid2eid)(?:\.\w+)?", Role.ROUTER),
        (r"nextn\.embed_tokens", Role.EMBEDDING),
        (r"nextn\.shared_head_head", Role.OUTPUT),
        (r"(?:.*[._])?(?:norm|ln)(?:_\w+)?(?:\.\w+)?|nextn\.[eh]norm", Role.NORM),
        (r"(?:ffn|channel_mix|vis)_(?:gate|up|down|key|value|receptance|latent_\w+|routed_\w+)(?:\.\w+)?|ffn\.act",
         Role.DENSE_FFN),
        (r"(?:attn|ssm|time_mix|cross_attn|vis_attn|shortconv|indexer|indexer_compressor)[._].+", Role.ATTENTION),
    )
)  # fmt: skip
_OUTSIDE: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(pattern, re.ASCII), role)
    for pattern, role in (
        (r"token_embd|position_embd|token_types|per_layer_token_embd", Role.EMBEDDING),
        (r"output(?:\.bias|\.scale)?|cls(?:\.output)?(?:\.bias)?|dense_[23](?:\.bias)?", Role.OUTPUT),
        (r"(?:.*[._])?norm(?:\.\w+)?", Role.NORM),
    )
)


@lru_cache(maxsize=65_536)
def role_of(name: str) -> Role:
    """The role of a tensor; OTHER for names that do not matter for placement, whether llama.cpp knows them or not."""
    block = _BLOCK.fullmatch(name)
    inner = block[2] if block else None
    if inner is None and (encoder := _ENCODER_BLOCK.fullmatch(name)):
        inner = encoder[1]
    rules = _OUTSIDE if inner is None else _RULES
    short = (name if inner is None else inner).removesuffix(".weight")
    return next((role for pattern, role in rules if pattern.fullmatch(short)), Role.OTHER)


def layer_of(name: str) -> int:
    """The block of a tensor; -1 outside of blocks, and for separate encoder and decoder stacks."""
    block = _BLOCK.fullmatch(name)
    return int(block[1]) if block else -1


def is_single_expert(name: str) -> bool:
    """Whether a tensor holds a single expert, as in files of 2023."""
    block = _BLOCK.fullmatch(name)
    return block is not None and _EXPERT_OF_OLD.fullmatch(block[2].removesuffix(".weight")) is not None
