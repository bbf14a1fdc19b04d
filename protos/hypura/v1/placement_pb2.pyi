from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_GPU: _ClassVar[Tier]
    TIER_RAM: _ClassVar[Tier]
    TIER_NVME: _ClassVar[Tier]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_RESIDENT: _ClassVar[Mode]
    MODE_EXPERT_STREAMING: _ClassVar[Mode]
    MODE_DENSE_STREAMING: _ClassVar[Mode]
    MODE_MMAP: _ClassVar[Mode]

class TensorRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TENSOR_ROLE_UNSPECIFIED: _ClassVar[TensorRole]
    TENSOR_ROLE_EMBEDDING: _ClassVar[TensorRole]
    TENSOR_ROLE_NORM: _ClassVar[TensorRole]
    TENSOR_ROLE_ATTENTION: _ClassVar[TensorRole]
    TENSOR_ROLE_ROUTER: _ClassVar[TensorRole]
    TENSOR_ROLE_DENSE_FFN: _ClassVar[TensorRole]
    TENSOR_ROLE_ROUTED_EXPERT: _ClassVar[TensorRole]
    TENSOR_ROLE_EXPERT_VECTOR: _ClassVar[TensorRole]
    TENSOR_ROLE_SHARED_EXPERT: _ClassVar[TensorRole]
    TENSOR_ROLE_OUTPUT: _ClassVar[TensorRole]
    TENSOR_ROLE_OTHER: _ClassVar[TensorRole]

class Bound(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOUND_UNSPECIFIED: _ClassVar[Bound]
    BOUND_COMPUTE: _ClassVar[Bound]
    BOUND_DRIVE: _ClassVar[Bound]

class MemoryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMORY_KIND_UNSPECIFIED: _ClassVar[MemoryKind]
    MEMORY_KIND_WEIGHTS: _ClassVar[MemoryKind]
    MEMORY_KIND_EXPERT_SLOTS: _ClassVar[MemoryKind]
    MEMORY_KIND_RING: _ClassVar[MemoryKind]
    MEMORY_KIND_WORKER_PROCESS: _ClassVar[MemoryKind]
    MEMORY_KIND_VOCABULARY: _ClassVar[MemoryKind]
    MEMORY_KIND_KV_CACHE: _ClassVar[MemoryKind]
    MEMORY_KIND_COMPUTE_BUFFERS: _ClassVar[MemoryKind]
    MEMORY_KIND_WORK_BUFFER: _ClassVar[MemoryKind]
    MEMORY_KIND_EXPERT_PREDICTION: _ClassVar[MemoryKind]
    MEMORY_KIND_EMBEDDING_ROWS: _ClassVar[MemoryKind]
    MEMORY_KIND_RESERVE: _ClassVar[MemoryKind]
TIER_UNSPECIFIED: Tier
TIER_GPU: Tier
TIER_RAM: Tier
TIER_NVME: Tier
MODE_UNSPECIFIED: Mode
MODE_RESIDENT: Mode
MODE_EXPERT_STREAMING: Mode
MODE_DENSE_STREAMING: Mode
MODE_MMAP: Mode
TENSOR_ROLE_UNSPECIFIED: TensorRole
TENSOR_ROLE_EMBEDDING: TensorRole
TENSOR_ROLE_NORM: TensorRole
TENSOR_ROLE_ATTENTION: TensorRole
TENSOR_ROLE_ROUTER: TensorRole
TENSOR_ROLE_DENSE_FFN: TensorRole
TENSOR_ROLE_ROUTED_EXPERT: TensorRole
TENSOR_ROLE_EXPERT_VECTOR: TensorRole
TENSOR_ROLE_SHARED_EXPERT: TensorRole
TENSOR_ROLE_OUTPUT: TensorRole
TENSOR_ROLE_OTHER: TensorRole
BOUND_UNSPECIFIED: Bound
BOUND_COMPUTE: Bound
BOUND_DRIVE: Bound
MEMORY_KIND_UNSPECIFIED: MemoryKind
MEMORY_KIND_WEIGHTS: MemoryKind
MEMORY_KIND_EXPERT_SLOTS: MemoryKind
MEMORY_KIND_RING: MemoryKind
MEMORY_KIND_WORKER_PROCESS: MemoryKind
MEMORY_KIND_VOCABULARY: MemoryKind
MEMORY_KIND_KV_CACHE: MemoryKind
MEMORY_KIND_COMPUTE_BUFFERS: MemoryKind
MEMORY_KIND_WORK_BUFFER: MemoryKind
MEMORY_KIND_EXPERT_PREDICTION: MemoryKind
MEMORY_KIND_EMBEDDING_ROWS: MemoryKind
MEMORY_KIND_RESERVE: MemoryKind

class Extent(_message.Message):
    __slots__ = ("file", "offset_bytes", "length_bytes")
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    file: int
    offset_bytes: int
    length_bytes: int
    def __init__(self, file: _Optional[int] = ..., offset_bytes: _Optional[int] = ..., length_bytes: _Optional[int] = ...) -> None: ...

class ModelFile(_message.Message):
    __slots__ = ("path", "size_bytes", "modified_nanoseconds", "inode")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    modified_nanoseconds: int
    inode: int
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., modified_nanoseconds: _Optional[int] = ..., inode: _Optional[int] = ...) -> None: ...

class TensorPlacement(_message.Message):
    __slots__ = ("name", "type", "shape", "role", "layer", "tier", "extent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    role: TensorRole
    layer: int
    tier: Tier
    extent: Extent
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., role: _Optional[_Union[TensorRole, str]] = ..., layer: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., extent: _Optional[_Union[Extent, _Mapping]] = ...) -> None: ...

class ExpertGroup(_message.Message):
    __slots__ = ("layers", "slots", "slot_bytes", "max_slots")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_SLOTS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedScalarFieldContainer[int]
    slots: int
    slot_bytes: int
    max_slots: int
    def __init__(self, layers: _Optional[_Iterable[int]] = ..., slots: _Optional[int] = ..., slot_bytes: _Optional[int] = ..., max_slots: _Optional[int] = ...) -> None: ...

class ExpertPlan(_message.Message):
    __slots__ = ("groups", "experts_per_layer", "experts_per_token", "expert_bytes", "statistics_path")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_PER_LAYER_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPERT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_PATH_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[ExpertGroup]
    experts_per_layer: int
    experts_per_token: int
    expert_bytes: int
    statistics_path: str
    def __init__(self, groups: _Optional[_Iterable[_Union[ExpertGroup, _Mapping]]] = ..., experts_per_layer: _Optional[int] = ..., experts_per_token: _Optional[int] = ..., expert_bytes: _Optional[int] = ..., statistics_path: _Optional[str] = ...) -> None: ...

class DensePlan(_message.Message):
    __slots__ = ("streamed_layers", "pinned_layers", "ring_depth", "ring_slot_bytes", "attention_streamed", "streamed_tensors", "pinned_tensors", "max_kept_bytes")
    STREAMED_LAYERS_FIELD_NUMBER: _ClassVar[int]
    PINNED_LAYERS_FIELD_NUMBER: _ClassVar[int]
    RING_DEPTH_FIELD_NUMBER: _ClassVar[int]
    RING_SLOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_STREAMED_FIELD_NUMBER: _ClassVar[int]
    STREAMED_TENSORS_FIELD_NUMBER: _ClassVar[int]
    PINNED_TENSORS_FIELD_NUMBER: _ClassVar[int]
    MAX_KEPT_BYTES_FIELD_NUMBER: _ClassVar[int]
    streamed_layers: _containers.RepeatedScalarFieldContainer[int]
    pinned_layers: _containers.RepeatedScalarFieldContainer[int]
    ring_depth: int
    ring_slot_bytes: int
    attention_streamed: bool
    streamed_tensors: int
    pinned_tensors: int
    max_kept_bytes: int
    def __init__(self, streamed_layers: _Optional[_Iterable[int]] = ..., pinned_layers: _Optional[_Iterable[int]] = ..., ring_depth: _Optional[int] = ..., ring_slot_bytes: _Optional[int] = ..., attention_streamed: _Optional[bool] = ..., streamed_tensors: _Optional[int] = ..., pinned_tensors: _Optional[int] = ..., max_kept_bytes: _Optional[int] = ...) -> None: ...

class IoPlan(_message.Message):
    __slots__ = ("chunk_bytes", "queue_depth", "direct", "offset_alignment_bytes", "memory_alignment_bytes")
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_ALIGNMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_ALIGNMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk_bytes: int
    queue_depth: int
    direct: bool
    offset_alignment_bytes: int
    memory_alignment_bytes: int
    def __init__(self, chunk_bytes: _Optional[int] = ..., queue_depth: _Optional[int] = ..., direct: _Optional[bool] = ..., offset_alignment_bytes: _Optional[int] = ..., memory_alignment_bytes: _Optional[int] = ...) -> None: ...

class RunSettings(_message.Message):
    __slots__ = ("threads", "batch_threads", "queue_depth", "chunk_bytes", "spin_count")
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCH_THREADS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    threads: int
    batch_threads: int
    queue_depth: int
    chunk_bytes: int
    spin_count: int
    def __init__(self, threads: _Optional[int] = ..., batch_threads: _Optional[int] = ..., queue_depth: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., spin_count: _Optional[int] = ...) -> None: ...

class MemoryItem(_message.Message):
    __slots__ = ("name", "size_bytes", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    kind: MemoryKind
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., kind: _Optional[_Union[MemoryKind, str]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("tok_per_second", "ttft_seconds", "bytes_read_per_token", "compute_seconds_per_token", "read_seconds_per_token", "hit_rate", "bound")
    TOK_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TTFT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    READ_SECONDS_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    tok_per_second: float
    ttft_seconds: float
    bytes_read_per_token: int
    compute_seconds_per_token: float
    read_seconds_per_token: float
    hit_rate: float
    bound: Bound
    def __init__(self, tok_per_second: _Optional[float] = ..., ttft_seconds: _Optional[float] = ..., bytes_read_per_token: _Optional[int] = ..., compute_seconds_per_token: _Optional[float] = ..., read_seconds_per_token: _Optional[float] = ..., hit_rate: _Optional[float] = ..., bound: _Optional[_Union[Bound, str]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("model", "architecture", "mode", "reason", "files", "tensors", "memory_limit_bytes", "memory", "context_tokens", "sequences", "ubatch_tokens", "threads", "batch_threads", "kv_type_k", "kv_type_v", "kv_bytes", "gpu_layers", "experts", "dense", "io", "extra_buffers", "exact", "estimate", "model_bytes", "resident_bytes", "streamed_bytes", "trained_context_tokens", "spin_count", "tuned", "embedding_cache_bytes", "unfused_attention")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    UBATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCH_THREADS_FIELD_NUMBER: _ClassVar[int]
    KV_TYPE_K_FIELD_NUMBER: _ClassVar[int]
    KV_TYPE_V_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_LAYERS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    IO_FIELD_NUMBER: _ClassVar[int]
    EXTRA_BUFFERS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAMED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRAINED_CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SPIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TUNED_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNFUSED_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    architecture: str
    mode: Mode
    reason: str
    files: _containers.RepeatedCompositeFieldContainer[ModelFile]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorPlacement]
    memory_limit_bytes: int
    memory: _containers.RepeatedCompositeFieldContainer[MemoryItem]
    context_tokens: int
    sequences: int
    ubatch_tokens: int
    threads: int
    batch_threads: int
    kv_type_k: str
    kv_type_v: str
    kv_bytes: int
    gpu_layers: int
    experts: ExpertPlan
    dense: DensePlan
    io: IoPlan
    extra_buffers: bool
    exact: bool
    estimate: Estimate
    model_bytes: int
    resident_bytes: int
    streamed_bytes: int
    trained_context_tokens: int
    spin_count: int
    tuned: _containers.RepeatedScalarFieldContainer[str]
    embedding_cache_bytes: int
    unfused_attention: bool
    def __init__(self, model: _Optional[str] = ..., architecture: _Optional[str] = ..., mode: _Optional[_Union[Mode, str]] = ..., reason: _Optional[str] = ..., files: _Optional[_Iterable[_Union[ModelFile, _Mapping]]] = ..., tensors: _Optional[_Iterable[_Union[TensorPlacement, _Mapping]]] = ..., memory_limit_bytes: _Optional[int] = ..., memory: _Optional[_Iterable[_Union[MemoryItem, _Mapping]]] = ..., context_tokens: _Optional[int] = ..., sequences: _Optional[int] = ..., ubatch_tokens: _Optional[int] = ..., threads: _Optional[int] = ..., batch_threads: _Optional[int] = ..., kv_type_k: _Optional[str] = ..., kv_type_v: _Optional[str] = ..., kv_bytes: _Optional[int] = ..., gpu_layers: _Optional[int] = ..., experts: _Optional[_Union[ExpertPlan, _Mapping]] = ..., dense: _Optional[_Union[DensePlan, _Mapping]] = ..., io: _Optional[_Union[IoPlan, _Mapping]] = ..., extra_buffers: _Optional[bool] = ..., exact: _Optional[bool] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., model_bytes: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., streamed_bytes: _Optional[int] = ..., trained_context_tokens: _Optional[int] = ..., spin_count: _Optional[int] = ..., tuned: _Optional[_Iterable[str]] = ..., embedding_cache_bytes: _Optional[int] = ..., unfused_attention: _Optional[bool] = ...) -> None: ...

class DrivePoint(_message.Message):
    __slots__ = ("block_bytes", "queue_depth", "bytes_per_second")
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    block_bytes: int
    queue_depth: int
    bytes_per_second: float
    def __init__(self, block_bytes: _Optional[int] = ..., queue_depth: _Optional[int] = ..., bytes_per_second: _Optional[float] = ...) -> None: ...

class DriveProfile(_message.Message):
    __slots__ = ("mount", "device", "filesystem", "direct", "offset_alignment_bytes", "memory_alignment_bytes", "points", "best_block_bytes", "best_queue_depth", "bytes_per_second", "measured_at_seconds")
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_ALIGNMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_ALIGNMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BEST_BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    BEST_QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    mount: str
    device: str
    filesystem: str
    direct: bool
    offset_alignment_bytes: int
    memory_alignment_bytes: int
    points: _containers.RepeatedCompositeFieldContainer[DrivePoint]
    best_block_bytes: int
    best_queue_depth: int
    bytes_per_second: float
    measured_at_seconds: float
    def __init__(self, mount: _Optional[str] = ..., device: _Optional[str] = ..., filesystem: _Optional[str] = ..., direct: _Optional[bool] = ..., offset_alignment_bytes: _Optional[int] = ..., memory_alignment_bytes: _Optional[int] = ..., points: _Optional[_Iterable[_Union[DrivePoint, _Mapping]]] = ..., best_block_bytes: _Optional[int] = ..., best_queue_depth: _Optional[int] = ..., bytes_per_second: _Optional[float] = ..., measured_at_seconds: _Optional[float] = ...) -> None: ...

class GpuDevice(_message.Message):
    __slots__ = ("name", "description", "total_bytes", "free_bytes", "unified")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNIFIED_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    total_bytes: int
    free_bytes: int
    unified: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., total_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., unified: _Optional[bool] = ...) -> None: ...

class TypeSpeed(_message.Message):
    __slots__ = ("type", "bytes_per_second")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    type: str
    bytes_per_second: float
    def __init__(self, type: _Optional[str] = ..., bytes_per_second: _Optional[float] = ...) -> None: ...

class HardwareProfile(_message.Message):
    __slots__ = ("cpu", "physical_cores", "usable_cores", "memory_total_bytes", "container_limit_bytes", "memory_available_bytes", "memory_bytes_per_second", "page_bytes", "gpus", "unified_memory", "extra_buffers_work", "worker_base_bytes", "drives", "llama_cpp_python_version", "type_speeds")
    CPU_FIELD_NUMBER: _ClassVar[int]
    PHYSICAL_CORES_FIELD_NUMBER: _ClassVar[int]
    USABLE_CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    PAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    UNIFIED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    EXTRA_BUFFERS_WORK_FIELD_NUMBER: _ClassVar[int]
    WORKER_BASE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRIVES_FIELD_NUMBER: _ClassVar[int]
    LLAMA_CPP_PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    TYPE_SPEEDS_FIELD_NUMBER: _ClassVar[int]
    cpu: str
    physical_cores: int
    usable_cores: int
    memory_total_bytes: int
    container_limit_bytes: int
    memory_available_bytes: int
    memory_bytes_per_second: float
    page_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[GpuDevice]
    unified_memory: bool
    extra_buffers_work: bool
    worker_base_bytes: int
    drives: _containers.RepeatedCompositeFieldContainer[DriveProfile]
    llama_cpp_python_version: str
    type_speeds: _containers.RepeatedCompositeFieldContainer[TypeSpeed]
    def __init__(self, cpu: _Optional[str] = ..., physical_cores: _Optional[int] = ..., usable_cores: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., container_limit_bytes: _Optional[int] = ..., memory_available_bytes: _Optional[int] = ..., memory_bytes_per_second: _Optional[float] = ..., page_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[GpuDevice, _Mapping]]] = ..., unified_memory: _Optional[bool] = ..., extra_buffers_work: _Optional[bool] = ..., worker_base_bytes: _Optional[int] = ..., drives: _Optional[_Iterable[_Union[DriveProfile, _Mapping]]] = ..., llama_cpp_python_version: _Optional[str] = ..., type_speeds: _Optional[_Iterable[_Union[TypeSpeed, _Mapping]]] = ...) -> None: ...
