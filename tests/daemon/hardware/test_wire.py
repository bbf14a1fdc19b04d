"""The profile as protobuf and back."""

from dataclasses import fields

from hypura.v1 import placement_pb2
from hypura_daemon.hardware.profile import DrivePoint, DriveProfile, GpuDevice, HardwareProfile, TypeSpeed
from hypura_daemon.hardware.wire import from_proto, to_proto

DRIVE = DriveProfile(
    mount="/models",
    device="/dev/nvme0n1",
    filesystem="xfs",
    direct=True,
    offset_alignment_bytes=512,
    memory_alignment_bytes=4,
    points=(DrivePoint(1 << 20, 4, 2.5e9), DrivePoint(4 << 20, 8, 2.6e9)),
    best_block_bytes=1 << 20,
    best_queue_depth=4,
    bytes_per_second=2.5e9,
    measured_at_seconds=1.7e9,
)
PROFILE = HardwareProfile(
    cpu="EPYC",
    physical_cores=16,
    usable_cores=12,
    memory_total_bytes=64 << 30,
    container_limit_bytes=32 << 30,
    memory_available_bytes=20 << 30,
    memory_bytes_per_second=2e11,
    page_bytes=4096,
    gpus=(GpuDevice("MTL0", "Apple M3", 48 << 30, 40 << 30, True),),
    unified_memory=True,
    extra_buffers_work=True,
    worker_base_bytes=66_000_000,
    drives=(DRIVE,),
    llama_cpp_python_version="0.3.36",
    type_speeds=(TypeSpeed("Q4_K", 1.8e10), TypeSpeed("F16", 3e10)),
)


def test_a_profile_survives_the_round_trip() -> None:
    sent = placement_pb2.HardwareProfile.FromString(to_proto(PROFILE).SerializeToString())
    assert from_proto(sent) == PROFILE


def test_every_field_of_the_message_is_filled() -> None:
    message = to_proto(PROFILE)
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    drive = message.drives[0]
    assert {field.name for field, _ in drive.ListFields()} == set(drive.DESCRIPTOR.fields_by_name)


def test_the_names_are_the_protos() -> None:
    for kind, message, own in (
        (HardwareProfile, placement_pb2.HardwareProfile, set()),
        (DriveProfile, placement_pb2.DriveProfile, {"provisional", "busy"}),
        (DrivePoint, placement_pb2.DrivePoint, set()),
        (GpuDevice, placement_pb2.GpuDevice, set()),
        (TypeSpeed, placement_pb2.TypeSpeed, set()),
    ):
        assert {field.name for field in fields(kind)} - own == set(message.DESCRIPTOR.fields_by_name)
