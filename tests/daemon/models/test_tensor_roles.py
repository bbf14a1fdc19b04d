"""Roles and layers of tensor names, as llama.cpp writes them."""

import pytest

from hypura.v1 import placement_pb2
from hypura_daemon.models.gguf.tensor_roles import Role, is_single_expert, layer_of, role_of

NAMES = {
    Role.EMBEDDING: ["token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"],
    Role.NORM: [
        "output_norm.weight", "token_embd_norm.weight", "token_embd_norm.bias", "blk.0.attn_norm.weight",
        "blk.0.attn_norm_2.bias", "blk.7.ffn_norm.weight", "blk.7.post_ffw_norm_1.weight", "blk.0.attn_q_norm.weight",
        "blk.0.ssm_norm.weight", "blk.0.ffn_norm_exps.weight", "blk.0.attn_kv_a_norm.weight", "blk.0.time_mix_ln.bias",
        "blk.0.nextn.enorm.weight", "blk.0.nextn.shared_head_norm.weight", "blk.0.indexer.k_norm.weight",
        "enc.blk.0.attn_norm.weight", "enc.output_norm.weight", "blk.0.layer_output_norm.weight",
    ],
    Role.ATTENTION: [
        "blk.0.attn_q.weight", "blk.11.attn_output.bias", "blk.0.attn_qkv.weight", "blk.0.attn_sinks.weight",
        "blk.0.attn_kv_a_mqa.weight", "blk.0.ssm_in.weight", "blk.0.ssm_a", "blk.0.ssm_conv1d.weight",
        "blk.0.time_mix_key.weight", "blk.0.shortconv.in_proj.weight", "dec.blk.2.cross_attn_q.weight",
        "blk.0.indexer.attn_k.weight", "blk.0.indexer_compressor_kv.weight",
    ],
    Role.ROUTER: [
        "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp.bias", "blk.0.exp_probs_b.bias",
        "blk.0.ffn_gate_inp_shexp.weight", "blk.0.ffn_gate_tid2eid.weight",
    ],
    Role.DENSE_FFN: [
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.bias", "blk.0.ffn_down.weight", "blk.0.ffn_down.scale",
        "blk.0.channel_mix_key.weight", "blk.0.ffn_latent_up.weight", "enc.blk.0.ffn_up.weight",
    ],
    Role.ROUTED_EXPERT: [
        "blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight", "blk.46.ffn_down_exps.weight",
        "blk.0.ffn_gate_up_exps.weight", "blk.0.ffn_gate.3.weight",
    ],
    Role.EXPERT_VECTOR: [
        "blk.0.ffn_gate_exps.bias", "blk.0.ffn_down_exps.bias", "blk.0.ffn_gate_up_exps.bias",
        "blk.0.ffn_down_exps.scale", "blk.0.ffn_up_exps.input_scale",
    ],
    Role.SHARED_EXPERT: [
        "blk.0.ffn_gate_shexp.weight", "blk.0.ffn_up_shexp.weight", "blk.0.ffn_down_shexp.bias",
        "blk.0.ffn_up_chexps.weight",
    ],
    Role.OUTPUT: [
        "output.weight", "output.bias", "cls.weight", "cls.output.weight", "blk.60.nextn.shared_head_head.weight",
    ],
    Role.OTHER: ["rope_freqs.weight", "rope_factors_long.weight", "blk.0.altup_router.weight", "what"],
}  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_roles(role: Role) -> None:
    assert {name: role_of(name) for name in NAMES[role]} == dict.fromkeys(NAMES[role], role)


def test_every_role_is_in_the_protos() -> None:
    for role in Role:
        assert f"TENSOR_ROLE_{role.name}" in placement_pb2.TensorRole.keys()  # noqa: SIM118


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("blk.0.attn_q.weight", 0),
        ("blk.123.ffn_up.weight", 123),
        ("output.weight", -1),
        ("enc.blk.3.attn_q.weight", -1),
        ("blk.x.attn_q.weight", -1),
        ("blk.\u0663.attn_q.weight", -1),
        ("blk.99999999999.attn_q.weight", -1),
    ],
)
def test_layers(name: str, layer: int) -> None:
    assert layer_of(name) == layer


def test_single_experts() -> None:
    assert is_single_expert("blk.0.ffn_gate.3.weight")
    assert not is_single_expert("blk.0.ffn_gate.weight")
