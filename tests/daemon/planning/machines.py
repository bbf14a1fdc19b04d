"""Machines to plan for."""

from __future__ import annotations

from hypura_daemon.hardware.profile import DriveProfile, GpuDevice, HardwareProfile

DRIVE = DriveProfile(
    mount="/",
    device="nvme",
    filesystem="ext4",
    direct=True,
    offset_alignment_bytes=512,
    memory_alignment_bytes=4,
    best_block_bytes=1 << 20,
    best_queue_depth=4,
    bytes_per_second=1.5e9,
    measured_at_seconds=1.0,
)


def machine(*, gpu_bytes: int = 0, unified: bool = False) -> HardwareProfile:
    """24 GB, two cores, and a GPU if it has memory."""
    gpus = (GpuDevice("GPU0", "a GPU", gpu_bytes, gpu_bytes, unified),) if gpu_bytes else ()
    return HardwareProfile(
        cpu="test",
        physical_cores=2,
        usable_cores=2,
        memory_total_bytes=24_000_000_000,
        container_limit_bytes=24_000_000_000,
        memory_available_bytes=23_000_000_000,
        memory_bytes_per_second=20e9,
        page_bytes=4096,
        gpus=gpus,
        unified_memory=unified,
        extra_buffers_work=True,
        worker_base_bytes=70_000_000,
        drives=(DRIVE,),
    )
