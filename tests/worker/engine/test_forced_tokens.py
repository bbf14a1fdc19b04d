"""Tokens that the format of an answer leaves no choice about: one pass for all, counted, the same as one by one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from hypura.v1 import inference_pb2, worker_pb2
from hypura.v1 import placement_pb2 as pb
from hypura_worker.engine.events import Finished
from hypura_worker.errors import ConstraintFailed
from tests.worker import plans
from tests.worker.conftest import Answer, Running, running

DEMO = Path(__file__).parents[3] / "hypura_daemon/models/demo/hypura-demo-18m-q4_k.gguf"
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


def make_plan(path: Path, mode: pb.Mode, **options: Any) -> pb.Plan:
    """With one thread: two on a busy machine wait for each other at every node."""
    return plans.make_plan(path, mode, threads=1, **options)


def _generate(engine: Running, **limits: Any) -> tuple[Answer, Finished, int]:
    """The answer, its end, and the passes that it took."""
    before = engine.engine.counters.passes
    bounds = inference_pb2.Limits(**({"max_tokens": 200} | limits))
    _, answer = engine.ask_with(PROMPT, bounds, KEYS)
    return answer, answer.wait(), engine.engine.counters.passes - before


@pytest.mark.parametrize(("mode", "slots"), [(pb.MODE_RESIDENT, 0), (pb.MODE_EXPERT_STREAMING, 64)])
def test_keys_take_no_passes_of_their_own(mode: pb.Mode, slots: int) -> None:
    with running(make_plan(DEMO, mode, slots=slots, ubatch_tokens=16)) as engine:
        answer, end, passes = _generate(engine)
        value = json.loads(answer.text)
        assert list(value) == ["the_name_of_the_city", "how_many_people_live_there", "is_it_the_capital"]
        assert end.reason == "stop"
        assert end.counters.output_tokens == len(answer.tokens)
        assert end.counters.forced_tokens > 30
        assert passes <= len(answer.tokens) - end.counters.forced_tokens + 2
        assert engine.engine.counters.forced_tokens == end.counters.forced_tokens
        # Logprobs are of single tokens, so that each takes its pass; the tokens are the same.
        single, single_end, single_passes = _generate(engine, top_logprobs=1)
        assert single.tokens == answer.tokens
        assert single_end.counters.forced_tokens == 0
        assert single_passes >= len(single.tokens)


def test_exact_answers_do_not_depend_on_the_budget() -> None:
    texts = []
    for slots in (80, 34):
        with running(make_plan(DEMO, pb.MODE_EXPERT_STREAMING, slots=slots, exact=True)) as engine:
            texts.append(_generate(engine)[0].tokens)
    assert texts[0] == texts[1]


def test_limits_hold_within_forced_tokens() -> None:
    with running(make_plan(DEMO, pb.MODE_RESIDENT)) as engine:
        whole = _generate(engine)[0]
        cut, end, _ = _generate(engine, max_tokens=7)
        assert (end.reason, end.counters.output_tokens, cut.tokens) == ("length", 7, whole.tokens[:7])
        stopped, end, _ = _generate(engine, stop=["_of_the"])
        assert (end.reason, end.stop_string) == ("stop", "_of_the")
        assert stopped.text == whole.text.partition("_of_the")[0]
        ignored, end, _ = _generate(engine, ignore_eos=True)
        assert (end.reason, ignored.tokens) == ("stop", whole.tokens)
        again = engine.ask_with(PROMPT, inference_pb2.Limits(max_tokens=200), KEYS, repeat_penalty=5.0)[1]
        assert again.wait().reason == "stop"  # Forced tokens count for the penalties, too.
        assert list(json.loads(again.text)) == list(json.loads(whole.text))


def test_a_format_that_becomes_too_complex_ends_its_own_answer() -> None:
    counts = worker_pb2.Constraint(
        json_schema='{"type": "string", "pattern": "^(((((a{1,100}){1,100}){1,100}){1,100}){1,100})$"}'
    )
    plan = make_plan(DEMO, pb.MODE_RESIDENT, sequences=2, exact=False)
    with running(plan) as engine:
        _, other = engine.ask(PROMPT, 40)
        _, answer = engine.ask_with(PROMPT, inference_pb2.Limits(max_tokens=200), counts, logit_bias={ord('"'): -100.0})
        with pytest.raises(ConstraintFailed, match="too complex"):
            answer.wait()
        assert other.wait().counters.output_tokens == 40
        assert not engine.broken


@pytest.mark.parametrize(
    "constraint",
    [
        worker_pb2.Constraint(json_schema='{"type": "string", "pattern": "^a{1000000}$"}'),
        worker_pb2.Constraint(json_schema='{"type": "string", "pattern": "^((ab){300}c){300}$"}'),
        worker_pb2.Constraint(json_schema=json.dumps({"const": "x y " * 20_000})),
        worker_pb2.Constraint(json_schema=json.dumps({"type": "object", "patternProperties": {"^a{99999}$": True}})),
        worker_pb2.Constraint(gbnf='root ::= "a"{1000000}'),
        worker_pb2.Constraint(lark=f'start: "{"x y " * 20_000}"'),
    ],
    ids=["pattern", "patterns", "const", "names", "gbnf", "literal"],
)
def test_a_long_text_that_is_forced_is_not_looked_for(constraint: worker_pb2.Constraint) -> None:
    """llguidance found all of it, and tokenized it, before each token: seconds, in which no other answer continued."""
    with running(make_plan(DEMO, pb.MODE_RESIDENT)) as engine:
        matcher = engine.matcher(constraint)
        started = time.thread_time()
        for _ in range(20):
            assert matcher.forced() == []
            matcher.accept(int(matcher.allowed()[-1]))
        assert time.thread_time() - started < 0.5
