"""The table of calls names each rpc of the protos with its own types."""

from typing import Any

import pytest

from hypura.v1 import control_pb2, inference_pb2
from hypura_client import calls

MADE: list[calls.Call[Any]] = [
    calls.profile("", False),
    calls.models(),
    calls.add("/x", ""),
    calls.remove("x"),
    calls.copy("x", "y"),
    calls.create("x", "FROM y"),
    calls.pull("x", False),
    calls.show("x"),
    calls.plan("x", None),
    calls.show_tuning("x"),
    calls.keep_tuning("x", control_pb2.Tuning()),
    calls.forget_tuning("x"),
    calls.load("x", None),
    calls.unload("x"),
    calls.status(),
    calls.watch(),
    calls.shutdown(None),
    calls.generate("x", "y", None, None, "", None),
    calls.chat("x", [], None, None, None, "", "", "", None),
    calls.embed("x", [], False, False, 0, None),
    calls.tokenize("x", "", True),
]


def test_every_rpc_has_a_call_with_its_own_types() -> None:
    rpcs = {
        f"/{service.full_name}/{rpc.name}": rpc
        for service in (
            control_pb2.DESCRIPTOR.services_by_name["ControlService"],
            inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
        )
        for rpc in service.methods
    }
    assert {call.method for call in MADE} == set(rpcs)
    for call in MADE:
        assert call.request.DESCRIPTOR is rpcs[call.method].input_type
        assert call.response.DESCRIPTOR is rpcs[call.method].output_type


def test_what_is_left_out_is_not_sent() -> None:
    assert not calls.shutdown(None).request.HasField("grace_seconds")
    assert calls.shutdown(0.0).request.HasField("grace_seconds")
    assert not calls.load("x", None).request.HasField("options")
    assert not calls.chat("x", [], None, None, None, "", "", "", None).request.HasField("think")
    assert calls.chat("x", [], None, None, False, "", "", "", None).request.HasField("think")


@pytest.mark.parametrize("prompt", ["", "text"])
def test_an_empty_prompt_is_text_all_the_same(prompt: str) -> None:
    assert calls.generate("x", prompt, None, None, "", None).request.WhichOneof("input") == "prompt"


def test_deadlines() -> None:
    assert calls.status().timeout_seconds(None) == 30
    assert calls.status().timeout_seconds(2) == 2
    assert calls.watch().timeout_seconds(2) is None
