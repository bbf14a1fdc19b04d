"""When attention is unfused: two products and a softmax instead of llama.cpp's one operation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hypura_daemon.hardware.profile import HardwareProfile
from hypura_daemon.models.model import Model
from hypura_daemon.planning import footprint
from hypura_daemon.planning.inputs import plan_inputs
from hypura_daemon.planning.plan import LoadRequest, Mode, Plan
from hypura_daemon.planning.planner import plan
from tests.daemon.planning.machines import DRIVE, machine
from tests.daemon.planning.models import shaped

GB = 1_000_000_000
EIGHT = LoadRequest(8 * GB)
QUICK = replace(machine(), memory_bytes_per_second=80e9)


def made(model: Model, request: LoadRequest = EIGHT, hardware: HardwareProfile = QUICK) -> Plan:
    return plan(model, hardware, replace(DRIVE, bytes_per_second=4e9), request)


@pytest.fixture
def qwen(tiny: dict[str, Model]) -> Model:
    return shaped("qwen3-30b-a3b", tiny["tiny-moe"])


def test_attention_is_unfused_if_requests_are_quicker(qwen: Model) -> None:
    roomy, tight = made(qwen), made(qwen, LoadRequest(3 * GB))
    assert roomy.mode is tight.mode is Mode.EXPERT_STREAMING
    assert roomy.unfused_attention
    assert not tight.unfused_attention, "its scores would take the room of too many experts"
    assert not made(qwen, LoadRequest(8 * GB, context_tokens=32_768)).unfused_attention, "here, too"
    assert not made(qwen, LoadRequest(22 * GB)).unfused_attention, "all resident is as stock llama.cpp"


def test_attention_is_unfused_only_where_that_works_and_was_measured(qwen: Model) -> None:
    hyper = qwen.hyperparameters
    latent = replace(qwen, hyperparameters=replace(hyper, kv_lora_rank=512))
    alone = replace(qwen, hyperparameters=replace(hyper, head_count_kv=hyper.head_count))
    with_gpu = replace(QUICK, gpus=machine(gpu_bytes=2 * GB).gpus)
    exact, quantized = replace(EIGHT, exact=True), replace(EIGHT, kv_type="q8_0")
    assert plan_inputs(qwen, QUICK, DRIVE, EIGHT).may_unfuse
    for model, hardware, request in (
        (latent, QUICK, EIGHT),
        (alone, QUICK, EIGHT),
        (qwen, with_gpu, EIGHT),
        (qwen, QUICK, exact),
        (qwen, QUICK, quantized),
    ):
        assert not plan_inputs(model, hardware, DRIVE, request).may_unfuse
        assert not made(model, request, hardware).unfused_attention


def test_unfused_scores_are_counted_and_only_k_is_lent(qwen: Model) -> None:
    """llama.cpp's own buffers: 96 and 308 MB for 4,096 tokens of context and passes of 512."""
    fused, unfused = (
        footprint.compute_bytes(qwen.hyperparameters, 4096, 8, 512, unfused_attention=unfused)
        for unfused in (False, True)
    )
    assert fused >= 96e6 and 308e6 <= unfused <= 400e6
    inputs = plan_inputs(qwen, machine(), DRIVE, EIGHT)
    assert 2 * replace(inputs, unfused_attention=True).lent_bytes(512, 0) == inputs.lent_bytes(512, 0) > 0


def test_decoding_gains_and_prompts_lose(qwen: Model) -> None:
    unfused = made(qwen)
    fused = made(qwen, LoadRequest(8 * GB, kv_type="bf16"))
    assert unfused.unfused_attention and not fused.unfused_attention
    assert unfused.estimate.tok_per_second > 1.02 * fused.estimate.tok_per_second
    assert unfused.estimate.ttft_seconds > fused.estimate.ttft_seconds
