"""What a request may ask of the sampler, and what it may not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hypura.v1 import inference_pb2
from hypura_worker.engine.parameters import Limits, Sampling
from hypura_worker.errors import InvalidRequest


@pytest.mark.parametrize("limits", [{"json_schema": "{}"}, {"grammar": 'root ::= "a"'}], ids=str)
def test_the_format_of_an_answer_comes_as_a_constraint(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="takes a constraint"):
        Limits.from_proto(inference_pb2.Limits(**limits))


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": -1.0}, {"temperature": math.nan}, {"top_p": 1.5}, {"min_p": -0.1}, {"typical_p": 2.0},
        {"repeat_penalty": 0.0}, {"repeat_last_n": -2}, {"logit_bias": {5: math.nan}}, {"logit_bias": {5: math.inf}},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range(sampling: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        Sampling.from_proto(inference_pb2.Sampling(**sampling))


def test_a_tiny_temperature_is_greedy() -> None:
    assert Sampling.from_proto(inference_pb2.Sampling(temperature=1e-42)).temperature == 0


def test_defaults() -> None:
    sampling = Sampling.from_proto(inference_pb2.Sampling())
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.repeat_penalty) == (0.8, 40, 0.9, 1)
    assert Limits.from_proto(inference_pb2.Limits(max_tokens=-1, top_logprobs=-1)).max_tokens is None
