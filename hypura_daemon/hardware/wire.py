"""The hardware profile as hypura.v1 messages."""

from collections.abc import Iterable

from hypura.v1 import placement_pb2
from hypura_daemon.hardware.profile import DrivePoint, DriveProfile, GpuDevice, HardwareProfile, TypeSpeed


def to_proto(profile: HardwareProfile) -> placement_pb2.HardwareProfile:
    """The message of a profile."""
    return placement_pb2.HardwareProfile(
        cpu=profile.cpu,
        physical_cores=profile.physical_cores,
        usable_cores=profile.usable_cores,
        memory_total_bytes=profile.memory_total_bytes,
        container_limit_bytes=profile.container_limit_bytes,
        memory_available_bytes=profile.memory_available_bytes,
        memory_bytes_per_second=profile.memory_bytes_per_second,
        page_bytes=profile.page_bytes,
        gpus=[
            placement_pb2.GpuDevice(
                name=gpu.name,
                description=gpu.description,
                total_bytes=gpu.total_bytes,
                free_bytes=gpu.free_bytes,
                unified=gpu.unified,
            )
            for gpu in profile.gpus
        ],
        unified_memory=profile.unified_memory,
        extra_buffers_work=profile.extra_buffers_work,
        worker_base_bytes=profile.worker_base_bytes,
        drives=[drive_to_proto(drive) for drive in profile.drives],
        llama_cpp_python_version=profile.llama_cpp_python_version,
        type_speeds=[
            placement_pb2.TypeSpeed(type=speed.type, bytes_per_second=speed.bytes_per_second)
            for speed in profile.type_speeds
        ],
    )


def drive_to_proto(drive: DriveProfile) -> placement_pb2.DriveProfile:
    """The message of a drive, without `provisional` and `busy`."""
    return placement_pb2.DriveProfile(
        mount=drive.mount,
        device=drive.device,
        filesystem=drive.filesystem,
        direct=drive.direct,
        offset_alignment_bytes=drive.offset_alignment_bytes,
        memory_alignment_bytes=drive.memory_alignment_bytes,
        points=[
            placement_pb2.DrivePoint(
                block_bytes=point.block_bytes,
                queue_depth=point.queue_depth,
                bytes_per_second=point.bytes_per_second,
            )
            for point in drive.points
        ],
        best_block_bytes=drive.best_block_bytes,
        best_queue_depth=drive.best_queue_depth,
        bytes_per_second=drive.bytes_per_second,
        measured_at_seconds=drive.measured_at_seconds,
    )


def from_proto(message: placement_pb2.HardwareProfile) -> HardwareProfile:
    """The profile of a message."""
    return HardwareProfile(
        cpu=message.cpu,
        physical_cores=message.physical_cores,
        usable_cores=message.usable_cores,
        memory_total_bytes=message.memory_total_bytes,
        container_limit_bytes=message.container_limit_bytes,
        memory_available_bytes=message.memory_available_bytes,
        memory_bytes_per_second=message.memory_bytes_per_second,
        page_bytes=message.page_bytes,
        gpus=gpus_from_proto(message.gpus),
        unified_memory=message.unified_memory,
        extra_buffers_work=message.extra_buffers_work,
        worker_base_bytes=message.worker_base_bytes,
        drives=tuple(drive_from_proto(drive) for drive in message.drives),
        llama_cpp_python_version=message.llama_cpp_python_version,
        type_speeds=type_speeds_from_proto(message.type_speeds),
    )


def gpus_from_proto(messages: Iterable[placement_pb2.GpuDevice]) -> tuple[GpuDevice, ...]:
    """The GPUs of these messages."""
    return tuple(GpuDevice(gpu.name, gpu.description, gpu.total_bytes, gpu.free_bytes, gpu.unified) for gpu in messages)


def type_speeds_from_proto(messages: Iterable[placement_pb2.TypeSpeed]) -> tuple[TypeSpeed, ...]:
    """The speeds of these messages."""
    return tuple(TypeSpeed(speed.type, speed.bytes_per_second) for speed in messages)


def drive_from_proto(message: placement_pb2.DriveProfile) -> DriveProfile:
    """The drive of a message."""
    return DriveProfile(
        mount=message.mount,
        device=message.device,
        filesystem=message.filesystem,
        direct=message.direct,
        offset_alignment_bytes=message.offset_alignment_bytes,
        memory_alignment_bytes=message.memory_alignment_bytes,
        points=tuple(
            DrivePoint(point.block_bytes, point.queue_depth, point.bytes_per_second) for point in message.points
        ),
        best_block_bytes=message.best_block_bytes,
        best_queue_depth=message.best_queue_depth,
        bytes_per_second=message.bytes_per_second,
        measured_at_seconds=message.measured_at_seconds,
    )
