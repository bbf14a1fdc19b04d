"""The hardware profile: what the machine, its GPUs and a model's drive can do.

Field names and units are those of placement.proto. Ranges are checked when a profile is read from a file, not when it
is made.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Small = Annotated[int, Field(ge=0, lt=1 << 32)]
Large = Annotated[int, Field(ge=0, lt=1 << 63)]
Real = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A device on which llama.cpp can compute, besides the CPU."""

    name: str
    description: str
    total_bytes: Large
    free_bytes: Large
    unified: bool


@dataclass(frozen=True, slots=True)
class TypeSpeed:
    """The bytes of weights per second that all usable cores multiply by a vector; the type's name is that of GGUF."""

    type: str
    bytes_per_second: Real


@dataclass(frozen=True, slots=True)
class DrivePoint:
    """The bandwidth of reads of one size and queue depth."""

    block_bytes: Large
    queue_depth: Small
    bytes_per_second: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveProfile:
    """What a model's drive can do; measured_at_seconds is 0 if nothing could be read.

    provisional: the file was too small for a reliable result; busy: much was being written during the measurement
    (neither is in the proto).
    """

    mount: str
    device: str
    filesystem: str
    direct: bool
    offset_alignment_bytes: Small
    memory_alignment_bytes: Small
    points: tuple[DrivePoint, ...] = ()
    best_block_bytes: Large = 0
    best_queue_depth: Small = 0
    bytes_per_second: Real = 0.0
    measured_at_seconds: Real = 0.0
    provisional: bool = False
    busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """What the machine has; drives: the requested ones.

    container_limit_bytes: the smaller of the installed memory and the container's limit.
    """

    cpu: str
    physical_cores: Small
    usable_cores: Small
    memory_total_bytes: Large
    container_limit_bytes: Large
    memory_available_bytes: Large
    memory_bytes_per_second: Real
    page_bytes: Small
    gpus: tuple[GpuDevice, ...] = ()
    unified_memory: bool = False
    extra_buffers_work: bool = False
    worker_base_bytes: Large = 0
    drives: tuple[DriveProfile, ...] = ()
    llama_cpp_python_version: str = ""
    type_speeds: tuple[TypeSpeed, ...] = ()
