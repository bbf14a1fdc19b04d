from hypura.v1 import placement_pb2 as _placement_pb2
from hypura.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_UNLOADED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_UNLOADING: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_UNLOADED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_UNLOADING: ModelState
MODEL_STATE_FAILED: ModelState

class ProfileRequest(_message.Message):
    __slots__ = ("model", "refresh")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    model: str
    refresh: bool
    def __init__(self, model: _Optional[str] = ..., refresh: _Optional[bool] = ...) -> None: ...

class ProfileResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: _placement_pb2.HardwareProfile
    def __init__(self, profile: _Optional[_Union[_placement_pb2.HardwareProfile, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("name", "path", "size_bytes", "architecture", "quantization", "parameters", "experts", "error", "modified_seconds", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    size_bytes: int
    architecture: str
    quantization: str
    parameters: int
    experts: int
    error: str
    modified_seconds: float
    digest: str
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., architecture: _Optional[str] = ..., quantization: _Optional[str] = ..., parameters: _Optional[int] = ..., experts: _Optional[int] = ..., error: _Optional[str] = ..., modified_seconds: _Optional[float] = ..., digest: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ...) -> None: ...

class AddModelRequest(_message.Message):
    __slots__ = ("path", "name", "list_only")
    PATH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIST_ONLY_FIELD_NUMBER: _ClassVar[int]
    path: str
    name: str
    list_only: bool
    def __init__(self, path: _Optional[str] = ..., name: _Optional[str] = ..., list_only: _Optional[bool] = ...) -> None: ...

class PassedOver(_message.Message):
    __slots__ = ("path", "reason", "is_part")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IS_PART_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    is_part: bool
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ..., is_part: _Optional[bool] = ...) -> None: ...

class AddModelResponse(_message.Message):
    __slots__ = ("models", "passed_over")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PASSED_OVER_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    passed_over: _containers.RepeatedCompositeFieldContainer[PassedOver]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ..., passed_over: _Optional[_Iterable[_Union[PassedOver, _Mapping]]] = ...) -> None: ...

class RemoveModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveModelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CopyModelRequest(_message.Message):
    __slots__ = ("source", "destination")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    source: str
    destination: str
    def __init__(self, source: _Optional[str] = ..., destination: _Optional[str] = ...) -> None: ...

class CopyModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelSummary
    def __init__(self, model: _Optional[_Union[ModelSummary, _Mapping]] = ...) -> None: ...

class CreateModelRequest(_message.Message):
    __slots__ = ("name", "modelfile")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODELFILE_FIELD_NUMBER: _ClassVar[int]
    name: str
    modelfile: str
    def __init__(self, name: _Optional[str] = ..., modelfile: _Optional[str] = ...) -> None: ...

class CreateModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelSummary
    def __init__(self, model: _Optional[_Union[ModelSummary, _Mapping]] = ...) -> None: ...

class PullModelRequest(_message.Message):
    __slots__ = ("name", "insecure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    insecure: bool
    def __init__(self, name: _Optional[str] = ..., insecure: _Optional[bool] = ...) -> None: ...

class PullModelResponse(_message.Message):
    __slots__ = ("stage", "transfer", "model")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    transfer: TransferProgress
    model: ModelSummary
    def __init__(self, stage: _Optional[str] = ..., transfer: _Optional[_Union[TransferProgress, _Mapping]] = ..., model: _Optional[_Union[ModelSummary, _Mapping]] = ...) -> None: ...

class TransferProgress(_message.Message):
    __slots__ = ("file", "total_bytes", "completed_bytes")
    FILE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_BYTES_FIELD_NUMBER: _ClassVar[int]
    file: str
    total_bytes: int
    completed_bytes: int
    def __init__(self, file: _Optional[str] = ..., total_bytes: _Optional[int] = ..., completed_bytes: _Optional[int] = ...) -> None: ...

class ShowModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ShowModelResponse(_message.Message):
    __slots__ = ("model", "metadata_json", "chat_template", "capabilities", "tensors", "context_tokens", "files", "parameters", "system", "license", "modelfile", "adaptations")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    MODELFILE_FIELD_NUMBER: _ClassVar[int]
    ADAPTATIONS_FIELD_NUMBER: _ClassVar[int]
    model: ModelSummary
    metadata_json: str
    chat_template: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    tensors: _containers.RepeatedCompositeFieldContainer[_placement_pb2.TensorPlacement]
    context_tokens: int
    files: _containers.RepeatedCompositeFieldContainer[_placement_pb2.ModelFile]
    parameters: str
    system: str
    license: str
    modelfile: str
    adaptations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[ModelSummary, _Mapping]] = ..., metadata_json: _Optional[str] = ..., chat_template: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., tensors: _Optional[_Iterable[_Union[_placement_pb2.TensorPlacement, _Mapping]]] = ..., context_tokens: _Optional[int] = ..., files: _Optional[_Iterable[_Union[_placement_pb2.ModelFile, _Mapping]]] = ..., parameters: _Optional[str] = ..., system: _Optional[str] = ..., license: _Optional[str] = ..., modelfile: _Optional[str] = ..., adaptations: _Optional[_Iterable[str]] = ...) -> None: ...

class LoadOptions(_message.Message):
    __slots__ = ("memory_limit_bytes", "context_tokens", "weight_cache_bytes", "weight_cache_percent", "exact", "kv_type", "pin", "sequences", "keep_alive_seconds", "settings", "untuned")
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_CACHE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    KV_TYPE_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    UNTUNED_FIELD_NUMBER: _ClassVar[int]
    memory_limit_bytes: int
    context_tokens: int
    weight_cache_bytes: int
    weight_cache_percent: float
    exact: bool
    kv_type: str
    pin: bool
    sequences: int
    keep_alive_seconds: float
    settings: _placement_pb2.RunSettings
    untuned: bool
    def __init__(self, memory_limit_bytes: _Optional[int] = ..., context_tokens: _Optional[int] = ..., weight_cache_bytes: _Optional[int] = ..., weight_cache_percent: _Optional[float] = ..., exact: _Optional[bool] = ..., kv_type: _Optional[str] = ..., pin: _Optional[bool] = ..., sequences: _Optional[int] = ..., keep_alive_seconds: _Optional[float] = ..., settings: _Optional[_Union[_placement_pb2.RunSettings, _Mapping]] = ..., untuned: _Optional[bool] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("model", "options", "drive_bytes_per_second", "beyond_budget")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DRIVE_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BEYOND_BUDGET_FIELD_NUMBER: _ClassVar[int]
    model: str
    options: LoadOptions
    drive_bytes_per_second: float
    beyond_budget: bool
    def __init__(self, model: _Optional[str] = ..., options: _Optional[_Union[LoadOptions, _Mapping]] = ..., drive_bytes_per_second: _Optional[float] = ..., beyond_budget: _Optional[bool] = ...) -> None: ...

class PlanResponse(_message.Message):
    __slots__ = ("plan", "limiting_budget_bytes")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LIMITING_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    plan: _placement_pb2.Plan
    limiting_budget_bytes: int
    def __init__(self, plan: _Optional[_Union[_placement_pb2.Plan, _Mapping]] = ..., limiting_budget_bytes: _Optional[int] = ...) -> None: ...

class Tuning(_message.Message):
    __slots__ = ("mode", "settings", "memory_limit_bytes", "decode_gain", "prompt_gain", "measured_at_seconds", "stale")
    MODE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DECODE_GAIN_FIELD_NUMBER: _ClassVar[int]
    PROMPT_GAIN_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    mode: _placement_pb2.Mode
    settings: _placement_pb2.RunSettings
    memory_limit_bytes: int
    decode_gain: float
    prompt_gain: float
    measured_at_seconds: float
    stale: bool
    def __init__(self, mode: _Optional[_Union[_placement_pb2.Mode, str]] = ..., settings: _Optional[_Union[_placement_pb2.RunSettings, _Mapping]] = ..., memory_limit_bytes: _Optional[int] = ..., decode_gain: _Optional[float] = ..., prompt_gain: _Optional[float] = ..., measured_at_seconds: _Optional[float] = ..., stale: _Optional[bool] = ...) -> None: ...

class ShowTuningRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ShowTuningResponse(_message.Message):
    __slots__ = ("model", "tunings", "path")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TUNINGS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    model: str
    tunings: _containers.RepeatedCompositeFieldContainer[Tuning]
    path: str
    def __init__(self, model: _Optional[str] = ..., tunings: _Optional[_Iterable[_Union[Tuning, _Mapping]]] = ..., path: _Optional[str] = ...) -> None: ...

class KeepTuningRequest(_message.Message):
    __slots__ = ("model", "tuning")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    model: str
    tuning: Tuning
    def __init__(self, model: _Optional[str] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ...) -> None: ...

class KeepTuningResponse(_message.Message):
    __slots__ = ("tuning", "path")
    TUNING_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    tuning: Tuning
    path: str
    def __init__(self, tuning: _Optional[_Union[Tuning, _Mapping]] = ..., path: _Optional[str] = ...) -> None: ...

class ForgetTuningRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ForgetTuningResponse(_message.Message):
    __slots__ = ("was_kept",)
    WAS_KEPT_FIELD_NUMBER: _ClassVar[int]
    was_kept: bool
    def __init__(self, was_kept: _Optional[bool] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("model", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    options: LoadOptions
    def __init__(self, model: _Optional[str] = ..., options: _Optional[_Union[LoadOptions, _Mapping]] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("stage", "progress", "loaded")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    stage: str
    progress: float
    loaded: ModelStatus
    def __init__(self, stage: _Optional[str] = ..., progress: _Optional[float] = ..., loaded: _Optional[_Union[ModelStatus, _Mapping]] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class UnloadResponse(_message.Message):
    __slots__ = ("was_loaded",)
    WAS_LOADED_FIELD_NUMBER: _ClassVar[int]
    was_loaded: bool
    def __init__(self, was_loaded: _Optional[bool] = ...) -> None: ...

class ModelStatus(_message.Message):
    __slots__ = ("name", "state", "worker_pid", "plan", "loaded", "statistics", "error", "load_progress", "loaded_at_seconds", "pinned", "expires_at_seconds", "memory_limit_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WORKER_PID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LOAD_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LOADED_AT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ModelState
    worker_pid: int
    plan: _placement_pb2.Plan
    loaded: _worker_pb2.LoadedModel
    statistics: _worker_pb2.WorkerStatisticsResponse
    error: str
    load_progress: float
    loaded_at_seconds: float
    pinned: bool
    expires_at_seconds: float
    memory_limit_bytes: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., worker_pid: _Optional[int] = ..., plan: _Optional[_Union[_placement_pb2.Plan, _Mapping]] = ..., loaded: _Optional[_Union[_worker_pb2.LoadedModel, _Mapping]] = ..., statistics: _Optional[_Union[_worker_pb2.WorkerStatisticsResponse, _Mapping]] = ..., error: _Optional[str] = ..., load_progress: _Optional[float] = ..., loaded_at_seconds: _Optional[float] = ..., pinned: _Optional[bool] = ..., expires_at_seconds: _Optional[float] = ..., memory_limit_bytes: _Optional[int] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DaemonStatus(_message.Message):
    __slots__ = ("pid", "version", "uptime_seconds", "socket_path", "home", "memory_budget_bytes", "planned_bytes", "rss_bytes", "http_address", "measuring")
    PID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SOCKET_PATH_FIELD_NUMBER: _ClassVar[int]
    HOME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    PLANNED_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MEASURING_FIELD_NUMBER: _ClassVar[int]
    pid: int
    version: str
    uptime_seconds: float
    socket_path: str
    home: str
    memory_budget_bytes: int
    planned_bytes: int
    rss_bytes: int
    http_address: str
    measuring: MeasuringStatus
    def __init__(self, pid: _Optional[int] = ..., version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., socket_path: _Optional[str] = ..., home: _Optional[str] = ..., memory_budget_bytes: _Optional[int] = ..., planned_bytes: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., http_address: _Optional[str] = ..., measuring: _Optional[_Union[MeasuringStatus, _Mapping]] = ...) -> None: ...

class MeasuringStatus(_message.Message):
    __slots__ = ("what", "seconds", "measured", "error")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    what: str
    seconds: float
    measured: bool
    error: str
    def __init__(self, what: _Optional[str] = ..., seconds: _Optional[float] = ..., measured: _Optional[bool] = ..., error: _Optional[str] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("daemon", "models")
    DAEMON_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    daemon: DaemonStatus
    models: _containers.RepeatedCompositeFieldContainer[ModelStatus]
    def __init__(self, daemon: _Optional[_Union[DaemonStatus, _Mapping]] = ..., models: _Optional[_Iterable[_Union[ModelStatus, _Mapping]]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: StatusResponse
    def __init__(self, status: _Optional[_Union[StatusResponse, _Mapping]] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ("grace_seconds",)
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    grace_seconds: float
    def __init__(self, grace_seconds: _Optional[float] = ...) -> None: ...

class ShutdownResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
