from hypura.v1 import placement_pb2 as _placement_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProbeReport(_message.Message):
    __slots__ = ("llama_cpp_python_version", "gpus", "measured")
    LLAMA_CPP_PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    llama_cpp_python_version: str
    gpus: _containers.RepeatedCompositeFieldContainer[_placement_pb2.GpuDevice]
    measured: ProbeMeasurements
    def __init__(self, llama_cpp_python_version: _Optional[str] = ..., gpus: _Optional[_Iterable[_Union[_placement_pb2.GpuDevice, _Mapping]]] = ..., measured: _Optional[_Union[ProbeMeasurements, _Mapping]] = ...) -> None: ...

class ProbeMeasurements(_message.Message):
    __slots__ = ("memory_bytes_per_second", "worker_base_bytes", "extra_buffers_work", "extra_buffers_verdict", "type_speeds")
    MEMORY_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    WORKER_BASE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXTRA_BUFFERS_WORK_FIELD_NUMBER: _ClassVar[int]
    EXTRA_BUFFERS_VERDICT_FIELD_NUMBER: _ClassVar[int]
    TYPE_SPEEDS_FIELD_NUMBER: _ClassVar[int]
    memory_bytes_per_second: float
    worker_base_bytes: int
    extra_buffers_work: bool
    extra_buffers_verdict: str
    type_speeds: _containers.RepeatedCompositeFieldContainer[_placement_pb2.TypeSpeed]
    def __init__(self, memory_bytes_per_second: _Optional[float] = ..., worker_base_bytes: _Optional[int] = ..., extra_buffers_work: _Optional[bool] = ..., extra_buffers_verdict: _Optional[str] = ..., type_speeds: _Optional[_Iterable[_Union[_placement_pb2.TypeSpeed, _Mapping]]] = ...) -> None: ...

class DriveLine(_message.Message):
    __slots__ = ("reading", "error")
    READING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    reading: DriveReading
    error: str
    def __init__(self, reading: _Optional[_Union[DriveReading, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class DriveReading(_message.Message):
    __slots__ = ("block_bytes", "queue_depth", "threads", "bytes_per_second", "direct")
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    block_bytes: int
    queue_depth: int
    threads: int
    bytes_per_second: float
    direct: bool
    def __init__(self, block_bytes: _Optional[int] = ..., queue_depth: _Optional[int] = ..., threads: _Optional[int] = ..., bytes_per_second: _Optional[float] = ..., direct: _Optional[bool] = ...) -> None: ...

class RecordLine(_message.Message):
    __slots__ = ("tokens", "done", "error")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    done: RecordDone
    error: str
    def __init__(self, tokens: _Optional[int] = ..., done: _Optional[_Union[RecordDone, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class RecordDone(_message.Message):
    __slots__ = ("choices", "tokens")
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    choices: int
    tokens: int
    def __init__(self, choices: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class ReplayLine(_message.Message):
    __slots__ = ("report", "error")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    report: ReplayReport
    error: str
    def __init__(self, report: _Optional[_Union[ReplayReport, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class ReplayReport(_message.Message):
    __slots__ = ("policies", "default", "slots", "tokens_held", "expert_bytes", "decode_visits")
    class PoliciesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_HELD_FIELD_NUMBER: _ClassVar[int]
    EXPERT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DECODE_VISITS_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.ScalarMap[str, float]
    default: str
    slots: int
    tokens_held: float
    expert_bytes: int
    decode_visits: int
    def __init__(self, policies: _Optional[_Mapping[str, float]] = ..., default: _Optional[str] = ..., slots: _Optional[int] = ..., tokens_held: _Optional[float] = ..., expert_bytes: _Optional[int] = ..., decode_visits: _Optional[int] = ...) -> None: ...

class BaselineRequest(_message.Message):
    __slots__ = ("paths", "mmap", "extra_buffers", "gpu_layers", "context_tokens", "ubatch_tokens", "threads", "batch_threads", "kv_type_k", "kv_type_v", "prompt_ids", "following_ids", "max_tokens", "temperature", "seed")
    PATHS_FIELD_NUMBER: _ClassVar[int]
    MMAP_FIELD_NUMBER: _ClassVar[int]
    EXTRA_BUFFERS_FIELD_NUMBER: _ClassVar[int]
    GPU_LAYERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UBATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    BATCH_THREADS_FIELD_NUMBER: _ClassVar[int]
    KV_TYPE_K_FIELD_NUMBER: _ClassVar[int]
    KV_TYPE_V_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWING_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedScalarFieldContainer[str]
    mmap: bool
    extra_buffers: bool
    gpu_layers: int
    context_tokens: int
    ubatch_tokens: int
    threads: int
    batch_threads: int
    kv_type_k: str
    kv_type_v: str
    prompt_ids: _containers.RepeatedScalarFieldContainer[int]
    following_ids: _containers.RepeatedScalarFieldContainer[int]
    max_tokens: int
    temperature: float
    seed: int
    def __init__(self, paths: _Optional[_Iterable[str]] = ..., mmap: _Optional[bool] = ..., extra_buffers: _Optional[bool] = ..., gpu_layers: _Optional[int] = ..., context_tokens: _Optional[int] = ..., ubatch_tokens: _Optional[int] = ..., threads: _Optional[int] = ..., batch_threads: _Optional[int] = ..., kv_type_k: _Optional[str] = ..., kv_type_v: _Optional[str] = ..., prompt_ids: _Optional[_Iterable[int]] = ..., following_ids: _Optional[_Iterable[int]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class BaselineLine(_message.Message):
    __slots__ = ("load_seconds", "token", "error")
    LOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    load_seconds: float
    token: BaselineToken
    error: str
    def __init__(self, load_seconds: _Optional[float] = ..., token: _Optional[_Union[BaselineToken, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class BaselineToken(_message.Message):
    __slots__ = ("id", "seconds", "system_seconds")
    ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_SECONDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    seconds: float
    system_seconds: float
    def __init__(self, id: _Optional[int] = ..., seconds: _Optional[float] = ..., system_seconds: _Optional[float] = ...) -> None: ...
