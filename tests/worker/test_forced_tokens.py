"""Tokens that the format of an answer leaves no choice about: one pass for all, counted, the same as one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura.v1 import placement_pb2 as pb
from hypura_worker.engine.request import Finished
from hypura_worker.errors import ConstraintFailed
from tests.worker.conftest import Answer, Running, running
from tests.worker.plans import make_plan

DEMO = Path(__file__).parents[2] / "hypura_daemon/models/demo/hypura-demo-18m-q4_k.gguf"
PROMPT = [5, 9, 17, 33, 64, 12, 90, 3]
KEYS = worker_pb2.Constraint(
    json_schema=json.dumps(
        {
            "type": "object",
            "properties": {
                "the_name_of_the_city": {"enum": ["Bonn", "Rome"]},
                "how_many_people_live_there": {"type": "integer", "minimum": 0, "maximum": 9},
                "is_it_the_capital": {"type": "boolean"},
            },
            "required": ["the_name_of_the_city", "how_many_people_live_there", "is_it_the_capital"],
        }
    )
)


def _asked(engine: Running, **limits: object) -> tuple[Answer, Finished, int]:
    """The answer, its end, and the passes that it took."""
    before = engine.engine.counters.passes
    asked = inference_pb2.Limits(**({"max_tokens": 200} | limits))
    _, answer = engine.ask_with(PROMPT, asked, KEYS)
    return answer, answer.wait(), engine.engine.counters.passes - before


@pytest.mark.parametrize(("mode", "slots"), [(pb.MODE_RESIDENT, 0), (pb.MODE_EXPERT_STREAMING, 16)])
def test_keys_take_no_passes_of_their_own(mode: int, slots: int) -> None:
    with running(make_plan(DEMO, mode, slots=slots, ubatch_tokens=64)) as engine:
        answer, end, passes = _asked(engine)
        value = json.loads(answer.text)
        assert list(value) == ["the_name_of_the_city", "how_many_people_live_there", "is_it_the_capital"]
        assert end.reason == "stop"
        assert end.costs.output_tokens == len(answer.tokens)
        assert end.costs.forced_tokens > 30
        assert passes <= len(answer.tokens) - end.costs.forced_tokens + 2
        assert engine.engine.counters.forced_tokens == end.costs.forced_tokens
        # Logprobs are of single tokens, so that each takes its pass; the tokens are the same.
        single, single_end, single_passes = _asked(engine, top_logprobs=1)
        assert single.tokens == answer.tokens
        assert single_end.costs.forced_tokens == 0
        assert single_passes >= len(single.tokens)


def test_exact_answers_do_not_depend_on_the_budget() -> None:
    texts = []
    for slots in (16, 6):
        with running(make_plan(DEMO, pb.MODE_EXPERT_STREAMING, slots=slots, exact=True)) as engine:
            texts.append(_asked(engine)[0].tokens)
    assert texts[0] == texts[1]


def test_limits_hold_within_forced_tokens() -> None:
    with running(make_plan(DEMO, pb.MODE_RESIDENT)) as engine:
        whole = _asked(engine)[0]
        cut, end, _ = _asked(engine, max_tokens=7)
        assert (end.reason, end.costs.output_tokens, cut.tokens) == ("length", 7, whole.tokens[:7])
        stopped, end, _ = _asked(engine, stop=["_of_the"])
        assert (end.reason, end.stop_string) == ("stop", "_of_the")
        assert stopped.text == whole.text.partition("_of_the")[0]
        ignored, end, _ = _asked(engine, ignore_eos=True)
        assert (end.reason, ignored.tokens) == ("stop", whole.tokens)
        again = engine.ask_with(PROMPT, inference_pb2.Limits(max_tokens=200), KEYS, repeat_penalty=5.0)[1]
        assert again.wait().reason == "stop"  # What is forced counts for the penalties: the sampler is told of it.
        assert list(json.loads(again.text)) == list(json.loads(whole.text))


def test_a_format_that_becomes_too_complex_ends_its_own_answer() -> None:
    counts = worker_pb2.Constraint(json_schema='{"type": "string", "pattern": "^( *[a-z]{0,30}){0,200}$"}')
    plan = make_plan(DEMO, pb.MODE_RESIDENT, sequences=2, exact=False)
    with running(plan) as engine:
        _, other = engine.ask(PROMPT, 100)
        letters = {ord("a"): 100.0, ord('"'): -100.0}
        _, answer = engine.ask_with(PROMPT, inference_pb2.Limits(max_tokens=200), counts, logit_bias=letters)
        with pytest.raises(ConstraintFailed, match="too complex"):
            answer.wait()
        assert other.wait().costs.output_tokens == 100
        assert not engine.broken
