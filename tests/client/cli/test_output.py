"""Messages of the protos as JSON, and text that is safe for a terminal."""

import json

from google.protobuf import message_factory

from hypura.v1 import control_pb2, inference_pb2, placement_pb2, tools_pb2, worker_pb2
from hypura_client.cli.output import _NOT_PRINTED, _PRINTED_NAMES, as_dict, enum_text, printed_name, safe

FILES = (control_pb2, inference_pb2, placement_pb2, tools_pb2, worker_pb2)


def test_every_message_of_the_protos_becomes_json_with_all_its_fields() -> None:
    for file in FILES:
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            found = as_dict(message_factory.GetMessageClass(descriptor)())
            fields = [field for field in descriptor.fields if field.full_name not in _NOT_PRINTED]
            assert list(found) == [printed_name(field) for field in fields]
            json.dumps(found, allow_nan=False)


def test_fields_that_were_renamed_keep_the_names_that_scripts_know() -> None:
    status = as_dict(control_pb2.ModelStatus(memory_limit_bytes=5))
    assert (status["memory_bytes"], "memory_limit_bytes" in status) == (5, False)
    assert as_dict(control_pb2.DaemonStatus(planned_bytes=6))["memory_planned_bytes"] == 6
    assert as_dict(placement_pb2.HardwareProfile(container_limit_bytes=7))["memory_limit_bytes"] == 7
    loaded = as_dict(worker_pb2.LoadedModel(min_memory_limit_bytes=1, max_memory_limit_bytes=2))
    assert (loaded["least_memory_bytes"], loaded["most_memory_bytes"]) == (1, 2)
    statistics = as_dict(worker_pb2.WorkerStatisticsResponse(prefetched_bytes=3, prefetched_used_bytes=4))
    assert (statistics["ahead_bytes"], statistics["ahead_used_bytes"]) == (3, 4)
    assert {*_PRINTED_NAMES} <= {
        field.full_name
        for file in FILES
        for message in file.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }


def test_trace_and_iobench_print_the_names_that_scripts_know() -> None:
    report = ["policies", "default", "slots", "tokens_held", "expert_bytes", "decode_visits"]
    assert list(as_dict(tools_pb2.ReplayReport())) == report
    reading = ["block_bytes", "queue_depth", "threads", "bytes_per_second", "direct"]
    assert list(as_dict(tools_pb2.DriveReading())) == reading
    assert list(as_dict(tools_pb2.RecordDone())) == ["choices", "tokens"]


def test_enums_presence_and_numbers() -> None:
    plan = placement_pb2.Plan(mode=placement_pb2.MODE_EXPERT_STREAMING, model_bytes=2**63)
    plan.estimate.tok_per_second = float("nan")
    plan.experts.groups.add(layers=[1, 2], slots=3)
    found = as_dict(plan, without=("tensors",))
    assert found["mode"] == "expert-streaming"
    assert found["model_bytes"] == 2**63
    assert found["dense"] is None
    assert found["experts"]["groups"] == [{"layers": [1, 2], "slots": 3, "slot_bytes": 0, "most_slots": 0}]
    assert found["estimate"]["tok_per_second"] is None
    assert found["estimate"]["bound"] is None
    assert "tensors" not in found
    options = as_dict(control_pb2.LoadOptions(weight_cache_percent=0))
    assert (options["weight_cache_percent"], options["weight_cache_bytes"]) == (0.0, None)
    sampling = as_dict(inference_pb2.Sampling(logit_bias={5: 1.5}))
    assert sampling["logit_bias"] == {"5": 1.5}
    assert as_dict(inference_pb2.TokenLogprob(token=b"\xff"))["token"] == "/w=="


def test_an_enum_value_of_a_newer_daemon_is_shown_as_its_number() -> None:
    assert enum_text(placement_pb2.Mode.DESCRIPTOR, 99) == "99"


def test_text_cannot_steer_the_terminal() -> None:
    assert safe("a\x1b[31mb\x9b\x07\r\n\tc") == "a[31mb\n\tc"
