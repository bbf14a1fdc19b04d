"""A plan, its parts, and the request it answers; wire.py converts them to hypura.v1 messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hypura_daemon.models.gguf.tensor_roles import Role
from hypura_daemon.models.model import ModelFile


class Tier(Enum):
    """Where a tensor's bytes are kept."""

    GPU = "gpu"
    RAM = "ram"
    NVME = "nvme"


class Mode(Enum):
    """How a model is run."""

    RESIDENT = "resident"
    EXPERT_STREAMING = "expert-streaming"
    DENSE_STREAMING = "dense-streaming"
    MMAP = "mmap"


class MemoryKind(Enum):
    """What a part of a worker's memory is for; the value is for people. See placement.proto."""

    WEIGHTS = "weights"
    EXPERT_SLOTS = "expert slots"
    RING = "ring"
    WORKER_PROCESS = "worker process"
    VOCABULARY = "vocabulary"
    KV_CACHE = "KV cache"
    COMPUTE_BUFFERS = "compute buffers"
    WORK_BUFFER = "work buffer"
    EXPERT_PREDICTION = "expert prediction"
    EMBEDDING_ROWS = "embedding rows"
    RESERVE = "reserve"


class Bound(Enum):
    """What limits the estimated speed."""

    COMPUTE = "compute"
    DRIVE = "drive"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings for computing and reading that `tune` tries; None: not set. See placement.proto."""

    threads: int | None = None
    batch_threads: int | None = None
    queue_depth: int | None = None
    chunk_bytes: int | None = None
    spin_count: int | None = None


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a load may use.

    memory_limit_bytes: limit of the worker's resident memory; 0 is filled in by the supervisor.
    context_tokens, sequences: 0 for the defaults. least_context_tokens: what requests need, if that is
    more than context_tokens or the default. weight_cache_bytes or weight_cache_percent
    (0 to 100) limit how much of the streamable weights stays in memory. kv_type: ggml type name.
    settings override what tuning found. untuned: a trial, which ignores what tuning found.
    drive_bytes_per_second: for the estimate; 0 for the measured bandwidth.
    """

    memory_limit_bytes: int = 0
    context_tokens: int = 0
    sequences: int = 0
    weight_cache_bytes: int | None = None
    weight_cache_percent: float | None = None
    exact: bool = False
    kv_type: str = ""
    least_context_tokens: int = 0
    settings: RunSettings = RunSettings()
    untuned: bool = False
    drive_bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class TensorPlacement:
    """One tensor and where it goes; shape has the fastest dimension first."""

    name: str
    type: str
    shape: tuple[int, ...]
    role: Role
    layer: int
    tier: Tier
    file: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertGroup:
    """Layers that share slots. slot_bytes includes the padding for aligned reads; max_slots: how many slots the group
    may get when more memory becomes free."""

    layers: tuple[int, ...]
    slots: int
    slot_bytes: int
    max_slots: int


@dataclass(frozen=True, slots=True)
class ExpertPlan:
    """How routed experts are cached. expert_bytes: read for one miss, on average; statistics_path: the file that keeps
    the experts' statistics from one load to the next, empty for none."""

    groups: tuple[ExpertGroup, ...]
    experts_per_layer: int
    experts_per_token: int
    expert_bytes: int
    statistics_path: str = ""


@dataclass(frozen=True, slots=True)
class DensePlan:
    """How layers are streamed, tensor by tensor.

    streamed_layers: those with streamed tensors; ring_slot_bytes: room for the largest streamed tensor; ring_depth: how
    many such tensors the ring holds; max_kept_bytes: how many of the streamed bytes may stay in free memory.
    """

    streamed_layers: tuple[int, ...]
    pinned_layers: tuple[int, ...]
    ring_depth: int
    ring_slot_bytes: int
    max_kept_bytes: int
    attention_streamed: bool
    streamed_tensors: int
    pinned_tensors: int


@dataclass(frozen=True, slots=True)
class IoPlan:
    """How the drive is read."""

    chunk_bytes: int
    queue_depth: int
    direct: bool
    offset_alignment_bytes: int
    memory_alignment_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """A part of the plan's memory."""

    kind: MemoryKind
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected speed of a plan; ttft_seconds is for a 512-token prompt."""

    tok_per_second: float
    ttft_seconds: float
    bytes_read_per_token: int
    compute_seconds_per_token: float
    read_seconds_per_token: float
    hit_rate: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class Plan:
    """What the daemon decides and the worker follows.

    spin_count: None for OpenMP's default. tuned: the fields of RunSettings that tuning found. embedding_cache_bytes:
    room for rows of embedding tensors that stay on the drive. unfused_attention: two products and a softmax instead of
    llama.cpp's fused operation.
    """

    model: str
    architecture: str
    mode: Mode
    reason: str
    files: tuple[ModelFile, ...]
    tensors: tuple[TensorPlacement, ...]
    memory_limit_bytes: int
    memory: tuple[MemoryItem, ...]
    context_tokens: int
    trained_context_tokens: int
    sequences: int
    ubatch_tokens: int
    threads: int
    batch_threads: int
    kv_type: str
    kv_bytes: int
    gpu_layers: int
    experts: ExpertPlan | None
    dense: DensePlan | None
    io: IoPlan
    extra_buffers: bool
    exact: bool
    estimate: Estimate
    spin_count: int | None = None
    tuned: tuple[str, ...] = ()
    embedding_cache_bytes: int = 0
    unfused_attention: bool = False

    @property
    def model_bytes(self) -> int:
        """The size of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def streamed_bytes(self) -> int:
        """The size of the tensors that stay on the drive."""
        return sum(tensor.size_bytes for tensor in self.tensors if tensor.tier is Tier.NVME)

    @property
    def resident_bytes(self) -> int:
        """The size of the tensors that are in memory."""
        return self.model_bytes - self.streamed_bytes
