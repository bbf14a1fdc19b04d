"""Plans for the shapes that people run, as a table, and what must hold for every plan."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypura.v1 import placement_pb2
from hypura_daemon.errors import BudgetTooSmall, ContextTooLong, HypuraError, InvalidRequest
from hypura_daemon.hardware.profile import TypeSpeed
from hypura_daemon.models.gguf.hyperparameters import Pooling
from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import Model, ModelTensor
from hypura_daemon.planning import planner as module
from hypura_daemon.planning.dense_streaming import divide
from hypura_daemon.planning.expert_streaming import MAX_GROUP_SLOTS, slots_bytes
from hypura_daemon.planning.inputs import PlanInputs
from hypura_daemon.planning.plan import LoadRequest, MemoryKind, Mode, Plan, TensorPlacement, Tier
from hypura_daemon.planning.planner import plan
from hypura_daemon.planning.wire import MEMORY_KINDS, plan_to_proto
from tests.daemon.planning.machines import DRIVE, machine
from tests.daemon.planning.models import shaped

GB = 1_000_000_000
SHAPES = ("qwen3-30b-a3b", "mixtral-8x7b", "llama-70b", "gpt-oss-120b", "tiny-moe", "tiny-dense")


def _plan(model: Model, **request: object) -> Plan:
    return plan(model, machine(), DRIVE, LoadRequest(**request))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "memory_gb", "mode"),
    [
        ("qwen3-30b-a3b", 22, Mode.RESIDENT),
        ("qwen3-30b-a3b", 8, Mode.EXPERT_STREAMING),
        ("qwen3-30b-a3b", 4, Mode.EXPERT_STREAMING),
        ("qwen3-30b-a3b", 2, Mode.EXPERT_STREAMING),
        ("mixtral-8x7b", 20, Mode.EXPERT_STREAMING),
        ("mixtral-8x7b", 4, Mode.EXPERT_STREAMING),
        ("gpt-oss-120b", 16, Mode.EXPERT_STREAMING),
        ("llama-70b", 20, Mode.DENSE_STREAMING),
        ("llama-70b", 10, Mode.DENSE_STREAMING),
        ("llama-70b", 6, Mode.DENSE_STREAMING),
    ],
)
def test_modes_of_real_shapes(shape: str, memory_gb: int, mode: Mode, tiny: dict[str, Model]) -> None:
    model = shaped(shape, tiny["tiny-moe"])
    made = _plan(model, memory_limit_bytes=memory_gb * GB)
    assert made.mode is mode
    _check(made)


def test_attention_is_streamed_only_when_it_must_be(tiny: dict[str, Model]) -> None:
    model = shaped("llama-70b", tiny["tiny-dense"])
    large, small = _plan(model, memory_limit_bytes=20 * GB), _plan(model, memory_limit_bytes=6 * GB)
    assert large.dense is not None and not large.dense.attention_streamed
    assert small.dense is not None and small.dense.attention_streamed


@pytest.mark.parametrize("memory_gb", [8, 14, 22, 30])
def test_pinned_tensors_are_spread_evenly_and_waste_nothing(memory_gb: int, tiny: dict[str, Model]) -> None:
    """Seen: pinning whole layers left up to one layer's 460 MB of the limit unused."""
    made = _plan(shaped("llama-70b", tiny["tiny-dense"]), memory_limit_bytes=memory_gb * GB)
    assert made.dense is not None
    streamed = _streamed(made)
    assert made.dense.pinned_tensors > 2 and len(streamed) == made.dense.streamed_tensors
    assert made.memory_limit_bytes - sum(item.size_bytes for item in made.memory) < min(t.size_bytes for t in streamed)
    assert made.dense.ring_slot_bytes * made.dense.ring_depth < 0.65 * GB
    halves = [sum(t.size_bytes for t in streamed if t.layer // 40 == half) for half in (0, 1)]
    assert max(halves) - min(halves) < 3 * made.dense.ring_slot_bytes


@pytest.mark.parametrize("memory_gb", [18, 22, 30])
def test_the_ring_is_only_as_large_as_it_pays(memory_gb: int, tiny: dict[str, Model]) -> None:
    """Llama-70B has tensors of 193 and of 132 MB: with enough memory, the ring need not hold the larger ones."""
    model = shaped("llama-70b", tiny["tiny-dense"])
    made = _plan(model, memory_limit_bytes=memory_gb * GB)
    assert made.dense is not None
    sizes = {t.size_bytes for t in model.tensors if t.role is Role.DENSE_FFN}
    assert len(sizes) == 2
    assert {t.size_bytes for t in _streamed(made)} == {min(sizes)}
    assert min(sizes) <= made.dense.ring_slot_bytes < max(sizes)


def test_a_ubatchs_buffers_are_worth_it_for_prompts(tiny: dict[str, Model]) -> None:
    model = shaped("llama-70b", tiny["tiny-dense"])
    request = LoadRequest(memory_limit_bytes=14 * GB)
    usual = plan(model, machine(), DRIVE, request)
    slow = plan(model, machine(), replace(DRIVE, bytes_per_second=0.05e9), request)
    assert slow.ubatch_tokens == 512, "reads bound the prompt, and every pass reads all that is streamed"
    assert 64 <= usual.ubatch_tokens < slow.ubatch_tokens, "computing bounds it"
    assert usual.estimate.bytes_read_per_token < slow.estimate.bytes_read_per_token


def test_reading_slows_computing_down(tiny: dict[str, Model]) -> None:
    """However quick the drive, streamed weights decode slower than the same cores compute without reads."""
    model = shaped("qwen3-30b-a3b", tiny["tiny-moe"])
    quick = replace(DRIVE, bytes_per_second=1e15)
    few, many = (
        plan(model, replace(machine(), usable_cores=cores), quick, LoadRequest(4 * GB)).estimate for cores in (2, 16)
    )
    assert 1 / few.tok_per_second > 1.1 * few.compute_seconds_per_token
    assert few.tok_per_second < many.tok_per_second < 1 / many.compute_seconds_per_token


def test_computing_hides_less_of_large_experts(tiny: dict[str, Model]) -> None:
    """Reading one expert of Mixtral takes longer than computing two layers, one of Qwen3 a quarter of a layer."""
    quick, hardware = replace(DRIVE, bytes_per_second=4e9), replace(machine(), memory_bytes_per_second=40e9)
    shares = []
    for shape, memory_gb in (("qwen3-30b-a3b", 8), ("mixtral-8x7b", 20)):
        made = plan(shaped(shape, tiny["tiny-moe"]), hardware, quick, LoadRequest(memory_gb * GB)).estimate
        waited = 1 / made.tok_per_second - made.compute_seconds_per_token - 0.092e-9 * made.bytes_read_per_token
        shares.append(waited / made.read_seconds_per_token)
    assert shares[0] == pytest.approx(0.15, abs=0.01), "what nobody foresees in time"
    assert 0.3 < shares[1] < 0.9


def test_computing_time_depends_on_the_tensor_types(tiny: dict[str, Model]) -> None:
    """Keeps out an estimate from memory bandwidth alone: IQ3_S decodes at a fifth of Q8_0's speed."""
    model = shaped("qwen3-30b-a3b", tiny["tiny-moe"])
    assert {t.type for t in model.tensors if t.role is Role.ROUTED_EXPERT} >= {"Q4_K"}

    def seconds(memory_gb: int, *speeds: TypeSpeed) -> float:
        known = replace(machine(), type_speeds=speeds, extra_buffers_work=False)
        return plan(model, known, DRIVE, LoadRequest(memory_gb * GB)).estimate.compute_seconds_per_token

    for memory_gb in (4, 22):
        unknown, same = seconds(memory_gb), seconds(memory_gb, TypeSpeed("Q4_K", 10e9), TypeSpeed("IQ3_S", 1e9))
        assert same == pytest.approx(unknown), "half of the 20 GB/s that memory gives"
        slow = seconds(memory_gb, TypeSpeed("Q4_K", 5e9))
        assert 1.5 * unknown < slow < 2 * unknown
    assert seconds(4) > seconds(22), "what streams is stopped at"


@pytest.mark.parametrize(("shape", "memory_gb"), [("qwen3-30b-a3b", 8), ("llama-70b", 20)])
def test_a_long_context_costs_little_before_it_is_used(shape: str, memory_gb: int, tiny: dict[str, Model]) -> None:
    """The worker lends pages that no token has filled, except with unified memory."""
    model = shaped(shape, tiny["tiny-moe" if shape.startswith("qwen") else "tiny-dense"])
    rates = []
    for unified in (False, True):
        short, long = (
            plan(model, machine(unified=unified), DRIVE, LoadRequest(memory_gb * GB, context_tokens=tokens))
            for tokens in (1024, 16_384 if shape.startswith("qwen") else 8192)
        )
        rates.append(long.estimate.tok_per_second / short.estimate.tok_per_second)
        assert long.kv_bytes >= 8 * short.kv_bytes
    lent, taken = rates
    assert taken < lent < 1.01
    assert lent > 0.93
    capped = _plan(model, memory_limit_bytes=memory_gb * GB, weight_cache_percent=10.0)
    if capped.dense is not None:
        held = sum(t.size_bytes for t in capped.tensors if t.role is Role.DENSE_FFN and t.tier is Tier.RAM)
        ring_bytes = capped.dense.ring_depth * capped.dense.ring_slot_bytes
        most = held + ring_bytes + capped.dense.max_kept_bytes
        assert most <= 0.1 * sum(t.size_bytes for t in model.tensors if t.role is Role.DENSE_FFN)


@pytest.mark.parametrize(("shape", "memory_gb"), [("qwen3-30b-a3b", 8), ("llama-70b", 14)])
@pytest.mark.parametrize("tied", [False, True])
def test_embeddings_stay_on_the_drive_unless_they_are_the_output_too(
    shape: str, memory_gb: int, tied: bool, tiny: dict[str, Model]
) -> None:
    model = shaped(shape, tiny["tiny-moe" if shape.startswith("qwen") else "tiny-dense"])
    if tied:
        model = replace(model, tensors=tuple(t for t in model.tensors if t.name != "output.weight"))
    made = _plan(model, memory_limit_bytes=memory_gb * GB)
    _check(made)
    (embedding,) = (t for t in made.tensors if t.name == "token_embd.weight")
    assert (embedding.tier is Tier.NVME) is not tied
    sizes = {item.kind: item.size_bytes for item in made.memory}
    assert (MemoryKind.EMBEDDING_ROWS in sizes) is not tied
    assert sizes.get(MemoryKind.EMBEDDING_ROWS, 0) < embedding.size_bytes / 3


def test_a_plan_names_what_each_part_of_the_memory_is_for(tiny: dict[str, Model]) -> None:
    made = plan_to_proto(_plan(shaped("qwen3-30b-a3b", tiny["tiny-moe"]), memory_limit_bytes=4 * GB)).memory
    assert {(item.kind, item.name) for item in made} >= {
        (placement_pb2.MEMORY_KIND_EXPERT_SLOTS, "expert slots"),
        (placement_pb2.MEMORY_KIND_KV_CACHE, "KV cache"),
    }
    assert len({item.kind for item in made}) == len(made), "each kind once"
    assert {MEMORY_KINDS[kind] for kind in MemoryKind} == set(placement_pb2.MemoryKind.values()) - {0}


def test_groups_of_slots_reach_from_the_first_layers_to_the_last(tiny: dict[str, Model]) -> None:
    """Seen with neighbouring layers in a group: the first missed 13 of 16 experts, the last had unused slots."""
    made = _plan(shaped("qwen3-30b-a3b", tiny["tiny-moe"]), memory_limit_bytes=10 * GB)
    assert made.experts is not None and len(made.experts.groups) > 3
    for group in made.experts.groups:
        assert min(group.layers) < 12 and max(group.layers) >= 36
        assert max(group.layers) - min(group.layers) > 2 * len(group.layers)


def test_models_that_fit_keep_their_embeddings_in_memory(tiny: dict[str, Model]) -> None:
    made = _plan(shaped("qwen3-30b-a3b", tiny["tiny-moe"]), memory_limit_bytes=64 * GB)
    assert made.mode is Mode.RESIDENT and made.streamed_bytes == 0 and made.embedding_cache_bytes == 0


def test_small_tensors_get_a_deeper_ring(tiny: dict[str, Model]) -> None:
    """Three tensors of 0.4 MB would leave most of the drive's queue empty."""
    tensors = [ModelTensor(f"blk.{i}.ffn_up.weight", "F16", (640, 640), Role.DENSE_FFN, i, 0, i, 1 << 20)
               for i in range(200)]  # fmt: skip
    deep = divide(tensors, 100 << 20, place_bytes=int, in_flight_bytes=8 << 20)
    capped = divide(tensors, 20 << 20, place_bytes=int, in_flight_bytes=8 << 20)
    least = divide(tensors, 2 << 20, place_bytes=int, in_flight_bytes=8 << 20)
    assert deep is not None and capped is not None and least is not None
    assert (deep.depth, capped.depth, least.depth) == (9, 5, 2)
    assert (len(deep.pinned), len(capped.pinned), len(least.pinned)) == (91, 15, 0)
    assert divide(tensors, (2 << 20) - 1, place_bytes=int, in_flight_bytes=0) is None
    whole = divide(tensors, 1 << 40, place_bytes=int, in_flight_bytes=0)
    assert whole is not None and (len(whole.pinned), whole.depth) == (199, 1), "something is always streamed"


def test_a_budget_too_small_names_the_least_that_works(tiny: dict[str, Model]) -> None:
    for shape in SHAPES[:4]:
        model = shaped(shape, tiny["tiny-moe"])
        with pytest.raises(BudgetTooSmall, match="the least is") as caught:
            _plan(model, memory_limit_bytes=GB // 10)
        _check(_plan(model, memory_limit_bytes=int(caught.value.required_bytes * 1.02)))


@pytest.mark.parametrize(("shape", "memory_gb"), [("qwen3-30b-a3b", 8), ("llama-70b", 14)])
def test_layers_that_predict_further_tokens_are_not_counted(shape: str, memory_gb: int, tiny: dict[str, Model]) -> None:
    """llama.cpp's loader leaves them out (MTP): a plan with them is the one without, whatever their types."""
    without = shaped(shape, tiny["tiny-moe" if shape.startswith("qwen") else "tiny-dense"])
    numbers = without.hyperparameters
    last = numbers.block_count
    added = [
        replace(t, name=t.name.replace(f"blk.{last - 1}.", f"blk.{last}."), layer=last, size_bytes=2 * t.size_bytes)
        for t in without.tensors
        if t.layer == last - 1
    ]
    head = ModelTensor(f"blk.{last}.nextn.eh_proj.weight", "F16", (4096, 2048), Role.OTHER, last, 0, 0, 16 << 20)
    predicting = replace(
        numbers,
        block_count=last + 1,
        nextn_predict_layers=1,
        head_count=(*numbers.head_count, numbers.head_count[0]),
        head_count_kv=(*numbers.head_count_kv, numbers.head_count_kv[0]),
        recurrent_layers=(*numbers.recurrent_layers, False),
        sliding_window_layers=(*numbers.sliding_window_layers, False),
    )
    model = replace(without, tensors=(*without.tensors, *added, head), hyperparameters=predicting)
    assert _plan(model, memory_limit_bytes=memory_gb * GB) == _plan(without, memory_limit_bytes=memory_gb * GB)


def test_the_weight_cache_makes_a_model_stream_that_would_fit(tiny: dict[str, Model]) -> None:
    for name, mode in (("tiny-moe", Mode.EXPERT_STREAMING), ("tiny-dense", Mode.DENSE_STREAMING)):
        model = tiny[name]
        assert _plan(model, memory_limit_bytes=4 * GB).mode is Mode.RESIDENT
        assert _plan(model, memory_limit_bytes=4 * GB, weight_cache_percent=100.0).mode is Mode.RESIDENT
        small = _plan(model, memory_limit_bytes=4 * GB, weight_cache_percent=50.0)
        assert small.mode is mode
        routed = sum(t.size_bytes for t in model.tensors if t.role in (Role.ROUTED_EXPERT, Role.DENSE_FFN))
        if small.experts is not None:
            assert slots_bytes(small.experts.groups) <= routed / 2
        assert _plan(model, memory_limit_bytes=4 * GB, weight_cache_bytes=100_000_000).mode is Mode.RESIDENT


@pytest.mark.parametrize("percent", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("shape", ["qwen3-30b-a3b", "mixtral-8x7b", "gpt-oss-120b", "tiny-moe"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_weight_cache_too_small_for_one_token_gets_the_least_slots(
    shape: str, percent: float, exact: bool, tiny: dict[str, Model]
) -> None:
    """Seen: it chose dense streaming, which reads every expert of every layer in each pass."""
    model = tiny[shape] if shape in tiny else shaped(shape, tiny["tiny-moe"])
    made = _plan(model, memory_limit_bytes=80 * GB, weight_cache_percent=percent, exact=exact)
    _check(made)
    assert made.mode is Mode.EXPERT_STREAMING and made.experts is not None
    if "allows fewer" in made.reason:
        slots_made = [group.slots for group in made.experts.groups]
        assert made.experts.experts_per_token in slots_made and made.ubatch_tokens == 1
        assert [group.max_slots for group in made.experts.groups] == slots_made
    more = _plan(model, memory_limit_bytes=80 * GB, weight_cache_percent=30.0, exact=exact)
    assert "allows fewer" not in more.reason


def test_the_weight_cache_counts_where_there_is_no_feed_forward_part(tiny: dict[str, Model]) -> None:
    """Seen: mamba, whose layers are one large matrix after another, stayed in memory whatever was requested."""
    dense = tiny["tiny-dense"]
    tensors = tuple(
        replace(t, name=f"blk.{t.layer}.ssm_in.weight", role=Role.ATTENTION) if t.role is Role.DENSE_FFN else t
        for t in dense.tensors
        if t.role is not Role.ATTENTION and ".ffn_up" not in t.name and ".ffn_gate" not in t.name
    )
    mamba = replace(dense, architecture="mamba", tensors=tensors)
    half = _plan(mamba, memory_limit_bytes=4 * GB, weight_cache_percent=50.0)
    assert half.mode is Mode.DENSE_STREAMING
    held = sum(t.size_bytes for t in half.tensors if t.tier is Tier.RAM and t.name.endswith("ssm_in.weight"))
    assert 0 < held <= 0.5 * sum(t.size_bytes for t in tensors if t.name.endswith("ssm_in.weight"))
    assert _plan(mamba, memory_limit_bytes=4 * GB).mode is Mode.RESIDENT


def test_weights_are_repacked_only_where_the_load_has_room_for_it(tiny: dict[str, Model]) -> None:
    """The loader first reads a repacked tensor into a buffer: no load may take more memory than it ends with."""
    model = tiny["tiny-dense"]
    large = replace(model.tensors[0], name="output.weight", size_bytes=600_000_000, role=Role.OUTPUT)
    model = replace(model, tensors=(*model.tensors, large))
    made = [_plan(model, memory_limit_bytes=n) for n in range(900_000_000, 2 * GB, 50_000_000)]
    repacked = [plan.extra_buffers for plan in made]
    assert (
        {plan.mode for plan in made} == {Mode.RESIDENT}
        and repacked == sorted(repacked)
        and set(repacked) == {False, True}
    )
    tight = made[repacked.index(True) - 1]
    there = sum(item.size_bytes for item in tight.memory if item.kind in module._BEFORE_THE_CONTEXT)
    assert there + large.size_bytes > tight.memory_limit_bytes


def test_a_weight_cache_without_effect_says_so(tiny: dict[str, Model]) -> None:
    """An unproven architecture, and a model with only small tensors."""
    dense = tiny["tiny-dense"]
    small = replace(dense, tensors=tuple(replace(t, size_bytes=min(t.size_bytes, 8192)) for t in dense.tensors))
    for model in (replace(dense, architecture="dream"), small):
        made = _plan(model, memory_limit_bytes=4 * GB, weight_cache_percent=50.0)
        assert made.mode is Mode.RESIDENT and "the weight cache has no effect" in made.reason
        assert "no effect" not in _plan(model, memory_limit_bytes=4 * GB).reason
    large = replace(shaped("llama-70b", dense), architecture="dream")
    mapped = _plan(large, memory_limit_bytes=4 * GB, weight_cache_percent=50.0)
    assert mapped.mode is Mode.MMAP and "memory limit and weight cache cannot be enforced" in mapped.reason


def test_exact_fixes_what_changes_low_bits(tiny: dict[str, Model]) -> None:
    model = shaped("qwen3-30b-a3b", tiny["tiny-moe"])
    gpu = machine(gpu_bytes=80 * GB)
    plans = [plan(model, gpu, DRIVE, LoadRequest(memory_limit_bytes=n * GB, exact=True)) for n in (2, 4, 22)]
    assert [p.mode for p in plans] == [Mode.EXPERT_STREAMING, Mode.EXPERT_STREAMING, Mode.RESIDENT]
    fixed = {(p.ubatch_tokens, p.sequences, p.threads, p.kv_type, p.gpu_layers, p.extra_buffers) for p in plans}
    assert len(fixed) == 1


@pytest.mark.parametrize("architecture", ["llama", "dream"])
@pytest.mark.parametrize("exact", [False, True])
def test_an_encoders_longest_text_does_not_depend_on_the_memory_limit(
    architecture: str, exact: bool, tiny: dict[str, Model]
) -> None:
    """Seen: 100 tokens were embedded when resident, and refused past 32 when streamed. "dream" does not stream."""
    shape = shaped("llama-70b", tiny["tiny-dense"])
    numbers = replace(shape.hyperparameters, causal=False)
    model = replace(shape, architecture=architecture, hyperparameters=numbers, capabilities=("embedding",))
    plans = [_plan(model, memory_limit_bytes=gb * GB, exact=exact) for gb in (8, 20, 80)]
    assert {made.ubatch_tokens for made in plans} == {2048}
    assert [made.mode for made in plans][-1] is Mode.RESIDENT is not plans[0].mode
    buffers = [next(i.size_bytes for i in made.memory if i.kind is MemoryKind.COMPUTE_BUFFERS) for made in plans]
    assert min(buffers) > 2 * 4 * 2048 * numbers.vocabulary_tokens, "llama.cpp makes logits of every token"


@pytest.mark.parametrize("architecture", ["llama", "dream"])
def test_exact_fixes_the_ubatch_in_every_mode(architecture: str, tiny: dict[str, Model]) -> None:
    """Seen: a mapped model was computed in smaller passes with less memory."""
    model = replace(shaped("llama-70b", tiny["tiny-dense"]), architecture=architecture)
    few = [
        _plan(model, memory_limit_bytes=n, exact=True, context_tokens=512)
        for n in (GB // 10, 10 * GB)[architecture == "llama" :]
    ]
    plans = [*few, _plan(model, memory_limit_bytes=80 * GB, exact=True, context_tokens=512)]
    assert {made.ubatch_tokens for made in plans} == {32}
    assert {made.mode for made in plans} == {
        Mode.RESIDENT,
        Mode.DENSE_STREAMING if architecture == "llama" else Mode.MMAP,
    }


def test_pooled_vectors_need_memory_for_logits(tiny: dict[str, Model]) -> None:
    model = tiny["tiny-dense"]
    vocabulary = model.hyperparameters.vocabulary_tokens

    def buffers(pooling: Pooling) -> int:
        pooled = replace(model, hyperparameters=replace(model.hyperparameters, pooling_type=pooling))
        made = _plan(pooled, memory_limit_bytes=8 * GB)
        assert made.ubatch_tokens == 512
        return next(item.size_bytes for item in made.memory if item.kind is MemoryKind.COMPUTE_BUFFERS)

    assert buffers(Pooling.LAST) == buffers(Pooling.NONE) == buffers(Pooling.FIRST)
    assert buffers(Pooling.MEAN) == buffers(Pooling.NONE) + 2 * 4 * vocabulary * (512 - 4)


def test_resident_tensors_go_to_the_gpu(tiny: dict[str, Model]) -> None:
    model = shaped("qwen3-30b-a3b", tiny["tiny-moe"])
    whole = plan(model, machine(gpu_bytes=80 * GB), DRIVE, LoadRequest(memory_limit_bytes=8 * GB))
    assert whole.mode is Mode.RESIDENT
    assert whole.gpu_layers == 49
    part = plan(model, machine(gpu_bytes=3 * GB), DRIVE, LoadRequest(memory_limit_bytes=8 * GB))
    assert part.mode is Mode.EXPERT_STREAMING
    assert all(t.tier is not Tier.GPU for t in part.tensors if t.role is Role.ROUTED_EXPERT)
    unified = plan(model, machine(gpu_bytes=24 * GB, unified=True), DRIVE, LoadRequest(memory_limit_bytes=8 * GB))
    assert unified.mode is Mode.EXPERT_STREAMING, "unified memory is one pool: the GPU adds none"


def test_an_unproven_architecture_is_mapped_and_the_plan_says_so(tiny: dict[str, Model]) -> None:
    model = replace(shaped("llama-70b", tiny["tiny-dense"]), architecture="dream")
    made = _plan(model, memory_limit_bytes=10 * GB)
    assert made.mode is Mode.MMAP
    assert "not proven lossless" in made.reason


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"memory_limit_bytes": 0}, InvalidRequest, "memory of 0"),
        ({"memory_limit_bytes": 1 << 60}, InvalidRequest, "memory of"),
        ({"context_tokens": 10**9}, ContextTooLong, "more than the"),
        ({"sequences": 1000}, InvalidRequest, "1000 sequences"),
        ({"kv_type": "q2_k"}, InvalidRequest, "q2_k"),
        ({"weight_cache_percent": 101.0}, InvalidRequest, "101"),
        ({"weight_cache_percent": float("nan")}, InvalidRequest, "nan"),
        ({"weight_cache_bytes": -1}, InvalidRequest, "-1"),
    ],
)
def test_bad_requests(
    request_: dict[str, object], error: type[HypuraError], message: str, tiny: dict[str, Model]
) -> None:
    with pytest.raises(error, match=message):
        _plan(tiny["tiny-moe"], **({"memory_limit_bytes": GB} | request_))


@settings(max_examples=60)
@given(
    shape=st.sampled_from(SHAPES),
    memory_limit_bytes=st.integers(50_000_000, 40 * GB),
    context_tokens=st.integers(1, 4096),
    sequences=st.integers(1, 16),
    percent=st.none() | st.floats(0, 100),
    exact=st.booleans(),
)
def test_every_plan_keeps_its_promises(
    shape: str,
    memory_limit_bytes: int,
    context_tokens: int,
    sequences: int,
    percent: float | None,
    exact: bool,
    tiny: dict[str, Model],
) -> None:
    model = shaped(shape, tiny["tiny-moe"])
    try:
        made = _plan(
            model,
            memory_limit_bytes=memory_limit_bytes,
            context_tokens=context_tokens,
            sequences=sequences,
            weight_cache_percent=percent,
            exact=exact,
        )
    except BudgetTooSmall as error:
        assert error.required_bytes > 0
        return
    _check(made)


def test_a_model_of_which_nothing_can_be_streamed_is_resident_whatever_the_weight_cache(tiny: dict[str, Model]) -> None:
    """Seen: all matrices below 16 KiB and `--weight-cache 50%`: the search for the least budget doubled it for ever."""
    model = _with_sizes(tiny["tiny-dense"], [12_000] * 40)
    made = _plan(model, memory_limit_bytes=GB, weight_cache_percent=50.0)
    assert made.mode is Mode.RESIDENT and "nothing of this model can be streamed" in made.reason
    with pytest.raises(BudgetTooSmall) as caught:
        _plan(model, memory_limit_bytes=1_000_000, weight_cache_bytes=1)
    assert _plan(model, memory_limit_bytes=caught.value.required_bytes, weight_cache_bytes=1).mode is Mode.RESIDENT


@settings(max_examples=60)
@given(
    name=st.sampled_from(("tiny-moe", "tiny-dense")),
    architecture=st.sampled_from(("", "qwen3moe", "grovemoe", "dream", "minimax-01", "refact", "bert")),
    sizes=st.lists(st.integers(32, 60_000), max_size=6),
    keep_experts=st.booleans(),
    memory_limit_bytes=st.integers(1, GB),
    cache=st.none() | st.floats(0, 100) | st.integers(0, 1 << 50),
    context_tokens=st.integers(1, 4096),
    exact=st.booleans(),
)
def test_planning_ends_after_a_bounded_number_of_tries(
    name: str,
    architecture: str,
    sizes: list[int],
    keep_experts: bool,
    memory_limit_bytes: int,
    cache: float | int | None,
    context_tokens: int,
    exact: bool,
    tiny: dict[str, Model],
) -> None:
    model = _with_sizes(tiny[name], sizes, keep_experts=keep_experts)
    model = replace(model, architecture=architecture or model.architecture)
    key = "weight_cache_percent" if isinstance(cache, float) else "weight_cache_bytes"
    tries, by_mode = 0, module._by_mode

    def counted(inputs: PlanInputs) -> Plan | None:
        nonlocal tries
        tries += 1
        assert tries < 100, "the search does not end"
        return by_mode(inputs)

    request = {"context_tokens": context_tokens, "exact": exact, key: cache}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_by_mode", counted)
        try:
            _plan(model, memory_limit_bytes=memory_limit_bytes, **request)
        except BudgetTooSmall as error:
            tries = 0
            _plan(model, memory_limit_bytes=error.required_bytes, **request)
        except InvalidRequest as error:
            assert "cannot be loaded with any amount of memory" in str(error)


def test_a_file_of_tens_of_thousands_of_tensor_sizes_is_planned(tiny: dict[str, Model]) -> None:
    """Every size was tried as the ring's largest: quadratic, so hours for as many tensors as a header may have."""
    model = _with_sizes(tiny["tiny-dense"], range(20_000, 20_000 + 10_000 * 32, 32))
    began = time.process_time()
    assert _plan(model, memory_limit_bytes=2 * GB, weight_cache_percent=50.0).mode is Mode.DENSE_STREAMING
    assert time.process_time() - began < 20, "it took minutes"


def _with_sizes(model: Model, sizes: Iterable[int], *, keep_experts: bool = False) -> Model:
    """The model with feed-forward matrices of these sizes for its own matrices."""
    kept = [
        t for t in model.tensors if t.layer < 0 or len(t.shape) < 2 or (keep_experts and t.role is Role.ROUTED_EXPERT)
    ]
    layers = model.hyperparameters.block_count
    made = [
        ModelTensor(
            f"blk.{i % layers}.ffn_up_{i}.weight", "F32", (8, size // 32), Role.DENSE_FFN, i % layers, 0, 0, size
        )
        for i, size in enumerate(sizes)
    ]
    return replace(model, tensors=(*kept, *made))


def _streamed(made: Plan) -> list[TensorPlacement]:
    """The tensors that passes read whole, or by expert."""
    return [t for t in made.tensors if t.tier is Tier.NVME and t.role is not Role.EMBEDDING]


def _check(made: Plan) -> None:
    """Check what the worker relies on."""
    assert sum(item.size_bytes for item in made.memory) <= made.memory_limit_bytes
    assert made.ubatch_tokens >= 1
    if made.experts is not None:
        layers = [layer for group in made.experts.groups for layer in group.layers]
        streamed = {t.layer for t in _streamed(made)}
        assert sorted(layers) == sorted(streamed)
        least = min(made.experts.experts_per_layer, made.experts.experts_per_token * made.ubatch_tokens)
        assert all(least <= group.slots <= MAX_GROUP_SLOTS for group in made.experts.groups)
    if made.dense is not None:
        assert made.dense.ring_depth >= min(2, made.dense.streamed_tensors)
        assert {t.layer for t in _streamed(made)} == set(made.dense.streamed_layers)
    by_row = [t for t in made.tensors if t.tier is Tier.NVME and t.role is Role.EMBEDDING]
    assert bool(by_row) == bool(made.embedding_cache_bytes)
    assert 3 * made.embedding_cache_bytes <= sum(t.size_bytes for t in by_row)
    estimate = made.estimate
    assert estimate.tok_per_second > 0
    assert 0 <= estimate.hit_rate <= 1
    message = plan_to_proto(made)
    assert message.streamed_bytes + message.resident_bytes == message.model_bytes


def test_expert_scales_keep_a_model_off_the_gpu(tiny: dict[str, Model]) -> None:
    """On CUDA the scales were copied before they were in slot order: the guard stopped every pass."""
    model = shaped("qwen3-30b-a3b", tiny["tiny-moe"])
    scale = ModelTensor("blk.0.ffn_down_exps.scale", "F32", (128,), Role.EXPERT_VECTOR, 0, 0, 0, 512)
    scaled = replace(model, tensors=(*model.tensors, scale))
    gpu = machine(gpu_bytes=3 * GB)
    assert plan(scaled, gpu, DRIVE, LoadRequest(memory_limit_bytes=8 * GB)).gpu_layers == 0
    assert plan(model, gpu, DRIVE, LoadRequest(memory_limit_bytes=8 * GB)).gpu_layers > 0
