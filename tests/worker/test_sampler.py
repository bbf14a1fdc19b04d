"""What a request may ask of the sampler, and what it may not."""

from __future__ import annotations

import math

import pytest

from hypura.v1 import inference_pb2
from hypura_worker.engine.grammar import grammar_sampler
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.errors import RequestError

BAD_GRAMMARS = {
    "deep": "root ::= " + "(" * 300_000,
    "nested": "root ::= " + "(" * 300 + '"a"' + ")" * 300,
    "many-rules": "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(10_000)),
}


class NoVocabulary:
    """llama.cpp reads the grammar before it looks at the vocabulary."""

    handle = None


@pytest.mark.parametrize("grammar", BAD_GRAMMARS.values(), ids=BAD_GRAMMARS.keys())
def test_a_grammar_that_would_overflow_the_parser_is_refused(grammar: str) -> None:
    """Seen: SIGSEGV in llama.cpp's recursive parser."""
    limits = Limits.from_proto(inference_pb2.Limits(grammar=grammar))
    with pytest.raises(RequestError, match="allowed"):
        grammar_sampler(limits, None)  # type: ignore[arg-type]


def test_a_schema_is_not_the_workers_to_read() -> None:
    with pytest.raises(RequestError, match="the daemon makes a grammar"):
        Limits.from_proto(inference_pb2.Limits(json_schema="{}"))


@pytest.mark.parametrize(("grammar", "root"), [('root ::= "a"', "other"), ('root ::= "a"', "a b"), ("root", "root")])
def test_a_grammar_without_its_first_rule_is_refused(grammar: str, root: str) -> None:
    limits = Limits.from_proto(inference_pb2.Limits(grammar=grammar))
    with pytest.raises(RequestError):
        grammar_sampler(limits, NoVocabulary(), root)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": -1.0}, {"temperature": math.nan}, {"top_p": 1.5}, {"min_p": -0.1}, {"typical_p": 2.0},
        {"repeat_penalty": 0.0}, {"repeat_last_n": -2}, {"logit_bias": {5: math.nan}}, {"logit_bias": {5: math.inf}},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range(sampling: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        Sampling.from_proto(inference_pb2.Sampling(**sampling))


def test_a_tiny_temperature_is_greedy() -> None:
    assert Sampling.from_proto(inference_pb2.Sampling(temperature=1e-42)).temperature == 0


def test_defaults() -> None:
    sampling = Sampling.from_proto(inference_pb2.Sampling())
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.repeat_penalty) == (0.8, 40, 0.9, 1)
    assert Limits.from_proto(inference_pb2.Limits(max_tokens=-1, top_logprobs=-1)).max_tokens is None
