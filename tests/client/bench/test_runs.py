"""What follows from runs: medians, roofline, agreement, the report; plain data in, plain data out."""

from __future__ import annotations

import pytest

from hypura.v1 import placement_pb2 as placement
from hypura_client.bench.conditions import FirstTouch, touch
from hypura_client.bench.contest import Contender, Results, Setup, fits
from hypura_client.bench.report import COLUMNS, facts, report, rows
from hypura_client.bench.runs import Run, TimeLimits, Workload, agreement, repetition, roofline_seconds, spread
from hypura_client.bench.stock import Stock, request

SETUP = Setup(512, 64, 1.0, 1, 3, TimeLimits(1, 1, 1))


def plan() -> placement.Plan:
    made = placement.Plan(
        model="m", mode=placement.MODE_EXPERT_STREAMING, context_tokens=4096, ubatch_tokens=32, threads=2,
        model_bytes=20_000_000_000, resident_bytes=1_000_000_000, streamed_bytes=19_000_000_000,
        memory_limit_bytes=4_000_000_000,
    )  # fmt: skip
    made.experts.experts_per_layer = 8
    made.io.direct = True
    made.estimate.tok_per_second = 3.0
    made.tensors.add(name="blk.0.ffn_up_exps.weight", tier=placement.TIER_NVME)
    return made


def run(**changes: object) -> Run:
    figures = {
        "load_seconds": 2.0, "ttft_seconds": 4.0, "prompt_tokens": 512, "token_ids": tuple(range(64)),
        "token_seconds": 0.4, "compute_seconds": 0.16, "stall_seconds": 0.23, "hit_rate": 0.6,
        "read_bytes": 6e8, "used_bytes": 5e8, "drive_bytes_per_second": 1.5e9,
    }  # fmt: skip
    return Run(**{**figures, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compute", "used", "drive", "floor"),
    [(0.2, 0, None, 0.2), (0.2, 6e8, 1.5e9, 0.4), (0.5, 6e8, 1.5e9, 0.5), (0.2, 6e8, None, None)],
)
def test_the_roofline_is_the_larger_of_both(compute: float, used: float, drive: float | None, floor: float) -> None:
    """Keeps out a sum, which no overlapped run could miss, and a floor made of an unknown drive."""
    assert roofline_seconds(compute, used, drive) == floor


def test_bytes_read_in_vain_do_not_lower_the_floor() -> None:
    """Keeps out a roofline that wrong prefetches make easier to reach."""
    made = report(plan(), SETUP, Results(runs={"hypura": [run()]}), [])
    assert made["roofline_tok_per_second"] == pytest.approx(3.0)
    assert made["roofline_ratio"] == pytest.approx(2.5 / 3.0)
    assert made["bytes_read_per_token"] == 6e8
    assert made["overhead_seconds_per_token"] == pytest.approx(0.01)
    assert made["roofline_compute_of"] == "the time computing"


def test_the_report_names_what_is_asked_for() -> None:
    """Keeps out a renamed field: others read this object."""
    results = Results(
        runs={
            "hypura": [run(), run(token_seconds=0.5), run(token_seconds=0.3)],
            "mmap": [run(token_seconds=8.0, token_ids=tuple(range(9)), cut=True, hit_rate=None, stall_seconds=None)],
            "no_mmap": [Run(killed=True)],
            "resident": [run(token_seconds=0.15)],
        }
    )
    made = report(plan(), SETUP, results, ["a note"])
    named = (
        "decode_tok_per_second prefill_tok_per_second ttft_seconds load_seconds hit_rate bytes_read_per_token "
        "stall_seconds_per_token compute_seconds_per_token drive_bytes_per_second roofline_ratio "
        "predicted_tok_per_second token_ids killed system_seconds_per_token"
    )
    assert set(named.split()) <= made.keys()
    assert made["decode_tok_per_second"] == 2.5 and made["killed"] is False
    assert made["spread"]["decode_tok_per_second"] == [2.0, pytest.approx(1 / 0.3)]
    assert made["roofline_compute_seconds"] == 0.15 and made["roofline_compute_of"] == "the all-resident run"
    assert made["baselines"]["no_mmap"] == {"killed": True, "runs": 1}
    mmap = made["baselines"]["mmap"]
    assert mmap["speedup"] == pytest.approx(20.0) and mmap["same_choices"] == 1
    assert mmap["hit_rate"] is None and mmap["stall_seconds_per_token"] is None
    assert "resident" not in made["baselines"]
    assert all(len(row) == len(COLUMNS) for row in rows(made))
    assert ("note", "a note") in facts(made)


def test_a_disturbed_resident_run_does_not_lower_the_roofline() -> None:
    """Keeps out a ratio above 1 that only says how busy the machine was."""
    runs = {"hypura": [run(used_bytes=0.0, others_share=0.4)], "resident": [run(token_seconds=2.0)]}
    made = report(plan(), SETUP, Results(runs=runs), [])
    assert made["roofline_compute_seconds"] == 0.16 and made["roofline_compute_of"] == "the time computing"
    assert any("other programs took up to 40%" in note for note in made["notes"])


def test_a_killed_run_is_reported_not_divided_by() -> None:
    """Keeps out a traceback where a run left no figures."""
    made = report(plan(), SETUP, Results(runs={"hypura": [Run(killed=True)], "mmap": [run()]}), [])
    assert made["killed"] is True and made["decode_tok_per_second"] is None and made["roofline_ratio"] is None
    assert made["baselines"]["mmap"]["speedup"] is None
    assert rows(made) and facts(made)


def test_repetition_is_noted() -> None:
    """Keeps out a hit rate that is high only because the output repeats itself."""
    made = report(plan(), SETUP, Results(runs={"hypura": [run(token_ids=(1, 2, 3, 4) * 16)]}), [])
    assert any("repeats itself" in note for note in made["notes"])
    assert repetition(range(64)) == 0 and repetition([]) == 0


def test_spread_and_agreement() -> None:
    runs = [run(hit_rate=0.2), run(hit_rate=None), run(hit_rate=0.6)]
    found = spread(runs, lambda one: one.hit_rate)
    assert found is not None and (found.median, found.low, found.high) == (0.4, 0.2, 0.6)
    assert spread([Run()], lambda one: one.hit_rate) is None
    assert agreement([1, 2, 3, 4], [1, 9, 3]) == pytest.approx(2 / 3) and agreement([1], []) is None


def test_stock_llama_cpp_is_not_slowed_down() -> None:
    """Keeps out a baseline with a tight plan's small ubatch, or one whose repacked weights cannot be mapped."""
    ours, question = plan(), Workload((1, 2), 8, 1.0, 5)
    for mmap in (True, False):
        asked = request(ours, Stock(mmap=mmap, extra_buffers=True), question)
        assert (asked.ubatch_tokens, asked.threads, list(asked.prompt_ids)) == (512, ours.threads, [1, 2])
        assert asked.extra_buffers is not mmap
    ours.exact = True
    assert request(ours, Stock(mmap=True, extra_buffers=False), question).ubatch_tokens == 32
    assert not fits(ours, 20_000_000_000) and fits(ours, 40_000_000_000)
    ours.gpu_layers = 3
    assert Contender("hypura", ours, None).environment, "graphs of moving weights would be replayed"


def test_memory_that_is_given_slowly_is_noted() -> None:
    """Keeps out first tokens that are faster than users of such a machine see, and the note on other machines."""
    noted = report(plan(), SETUP, Results(runs={"hypura": [run()]}, first_touches=[FirstTouch(8 << 30, 20.0)]), [])
    assert any("8.59 GB" in note and "20.0 s" in note for note in noted["notes"])
    quick = [FirstTouch(8 << 30, 1.2), FirstTouch(50 << 20, 0.5)]
    assert report(plan(), SETUP, Results(runs={"hypura": [run()]}, first_touches=quick), [])["notes"] == []


def test_memory_is_touched_in_another_process() -> None:
    """Keeps out a touch that does nothing, or that fails the benchmark where a limit ends it."""
    touched = touch(64 << 20, ("/usr/bin/env", "HYPURA_TEST=1"))
    assert touched is not None and touched.size_bytes == int(0.9 * (64 << 20)) and touched.seconds > 0
    assert touch(64 << 20, ("sh", "-c", "kill -9 $$")) is None


def test_what_a_run_can_make_use_of_stays_within_its_limit() -> None:
    """Keeps out a touch of the whole model in a cgroup that holds a part of it."""
    assert Contender("hypura", plan(), None).memory_bytes == 4_000_000_000
    assert Contender("mmap", plan(), 4_000_000_000, Stock(True, False)).memory_bytes == 4_000_000_000
    assert Contender("resident", plan(), None, Stock(False, False)).memory_bytes >= 20_000_000_000
