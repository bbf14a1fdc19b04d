from hypura.v1 import inference_pb2 as _inference_pb2
from hypura.v1 import placement_pb2 as _placement_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerBootstrap(_message.Message):
    __slots__ = ("socket_path", "model", "log_level")
    SOCKET_PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LOG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    socket_path: str
    model: str
    log_level: str
    def __init__(self, socket_path: _Optional[str] = ..., model: _Optional[str] = ..., log_level: _Optional[str] = ...) -> None: ...

class WorkerBootstrapResponse(_message.Message):
    __slots__ = ("address", "error")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    address: str
    error: str
    def __init__(self, address: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class WorkerLoadRequest(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _placement_pb2.Plan
    def __init__(self, plan: _Optional[_Union[_placement_pb2.Plan, _Mapping]] = ...) -> None: ...

class WorkerLoadResponse(_message.Message):
    __slots__ = ("progress", "loaded")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    progress: float
    loaded: LoadedModel
    def __init__(self, progress: _Optional[float] = ..., loaded: _Optional[_Union[LoadedModel, _Mapping]] = ...) -> None: ...

class LoadedModel(_message.Message):
    __slots__ = ("load_seconds", "bytes_read", "rss_bytes", "slots", "slot_bytes", "vocabulary_tokens", "bos_text", "eos_text", "adds_bos", "embedding_length", "can_generate", "context_tokens", "min_memory_limit_bytes", "max_memory_limit_bytes", "control_texts")
    LOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BOS_TEXT_FIELD_NUMBER: _ClassVar[int]
    EOS_TEXT_FIELD_NUMBER: _ClassVar[int]
    ADDS_BOS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CAN_GENERATE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTROL_TEXTS_FIELD_NUMBER: _ClassVar[int]
    load_seconds: float
    bytes_read: int
    rss_bytes: int
    slots: int
    slot_bytes: int
    vocabulary_tokens: int
    bos_text: str
    eos_text: str
    adds_bos: bool
    embedding_length: int
    can_generate: bool
    context_tokens: int
    min_memory_limit_bytes: int
    max_memory_limit_bytes: int
    control_texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, load_seconds: _Optional[float] = ..., bytes_read: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., slots: _Optional[int] = ..., slot_bytes: _Optional[int] = ..., vocabulary_tokens: _Optional[int] = ..., bos_text: _Optional[str] = ..., eos_text: _Optional[str] = ..., adds_bos: _Optional[bool] = ..., embedding_length: _Optional[int] = ..., can_generate: _Optional[bool] = ..., context_tokens: _Optional[int] = ..., min_memory_limit_bytes: _Optional[int] = ..., max_memory_limit_bytes: _Optional[int] = ..., control_texts: _Optional[_Iterable[str]] = ...) -> None: ...

class WorkerResizeRequest(_message.Message):
    __slots__ = ("memory_limit_bytes",)
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    memory_limit_bytes: int
    def __init__(self, memory_limit_bytes: _Optional[int] = ...) -> None: ...

class WorkerResizeResponse(_message.Message):
    __slots__ = ("memory_limit_bytes", "slots")
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    memory_limit_bytes: int
    slots: int
    def __init__(self, memory_limit_bytes: _Optional[int] = ..., slots: _Optional[int] = ...) -> None: ...

class WorkerGenerateRequest(_message.Message):
    __slots__ = ("request_id", "prompt", "prompt_ids", "sampling", "limits", "visible_tokens", "report_prompt_ids", "constraint", "plain_spans")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPORT_PROMPT_IDS_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    PLAIN_SPANS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prompt: str
    prompt_ids: _inference_pb2.TokenIds
    sampling: _inference_pb2.Sampling
    limits: _inference_pb2.Limits
    visible_tokens: _containers.RepeatedScalarFieldContainer[str]
    report_prompt_ids: bool
    constraint: Constraint
    plain_spans: _containers.RepeatedCompositeFieldContainer[TextSpan]
    def __init__(self, request_id: _Optional[str] = ..., prompt: _Optional[str] = ..., prompt_ids: _Optional[_Union[_inference_pb2.TokenIds, _Mapping]] = ..., sampling: _Optional[_Union[_inference_pb2.Sampling, _Mapping]] = ..., limits: _Optional[_Union[_inference_pb2.Limits, _Mapping]] = ..., visible_tokens: _Optional[_Iterable[str]] = ..., report_prompt_ids: _Optional[bool] = ..., constraint: _Optional[_Union[Constraint, _Mapping]] = ..., plain_spans: _Optional[_Iterable[_Union[TextSpan, _Mapping]]] = ...) -> None: ...

class TextSpan(_message.Message):
    __slots__ = ("start_bytes", "length_bytes")
    START_BYTES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    start_bytes: int
    length_bytes: int
    def __init__(self, start_bytes: _Optional[int] = ..., length_bytes: _Optional[int] = ...) -> None: ...

class Constraint(_message.Message):
    __slots__ = ("json_schema", "any_json", "lark", "gbnf", "parts", "markers")
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    ANY_JSON_FIELD_NUMBER: _ClassVar[int]
    LARK_FIELD_NUMBER: _ClassVar[int]
    GBNF_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    MARKERS_FIELD_NUMBER: _ClassVar[int]
    json_schema: str
    any_json: bool
    lark: str
    gbnf: str
    parts: _containers.RepeatedCompositeFieldContainer[ConstraintPart]
    markers: _containers.RepeatedCompositeFieldContainer[ConstraintMarker]
    def __init__(self, json_schema: _Optional[str] = ..., any_json: _Optional[bool] = ..., lark: _Optional[str] = ..., gbnf: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[ConstraintPart, _Mapping]]] = ..., markers: _Optional[_Iterable[_Union[ConstraintMarker, _Mapping]]] = ...) -> None: ...

class ConstraintPart(_message.Message):
    __slots__ = ("name", "what", "json_schema", "gbnf")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    GBNF_FIELD_NUMBER: _ClassVar[int]
    name: str
    what: str
    json_schema: str
    gbnf: str
    def __init__(self, name: _Optional[str] = ..., what: _Optional[str] = ..., json_schema: _Optional[str] = ..., gbnf: _Optional[str] = ...) -> None: ...

class ConstraintMarker(_message.Message):
    __slots__ = ("rule", "text", "until")
    RULE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    rule: str
    text: str
    until: bool
    def __init__(self, rule: _Optional[str] = ..., text: _Optional[str] = ..., until: _Optional[bool] = ...) -> None: ...

class WorkerGenerateResponse(_message.Message):
    __slots__ = ("prefill", "chunk", "finished")
    PREFILL_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    prefill: _inference_pb2.PrefillProgress
    chunk: _inference_pb2.TokenChunk
    finished: _inference_pb2.Finished
    def __init__(self, prefill: _Optional[_Union[_inference_pb2.PrefillProgress, _Mapping]] = ..., chunk: _Optional[_Union[_inference_pb2.TokenChunk, _Mapping]] = ..., finished: _Optional[_Union[_inference_pb2.Finished, _Mapping]] = ...) -> None: ...

class WorkerEmbedRequest(_message.Message):
    __slots__ = ("texts", "normalize", "truncate", "token_texts", "context_tokens")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_TEXTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    normalize: bool
    truncate: bool
    token_texts: _containers.RepeatedCompositeFieldContainer[_inference_pb2.TokenIds]
    context_tokens: int
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., normalize: _Optional[bool] = ..., truncate: _Optional[bool] = ..., token_texts: _Optional[_Iterable[_Union[_inference_pb2.TokenIds, _Mapping]]] = ..., context_tokens: _Optional[int] = ...) -> None: ...

class WorkerEmbedResponse(_message.Message):
    __slots__ = ("embeddings", "prompt_tokens")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[_inference_pb2.Embedding]
    prompt_tokens: int
    def __init__(self, embeddings: _Optional[_Iterable[_Union[_inference_pb2.Embedding, _Mapping]]] = ..., prompt_tokens: _Optional[int] = ...) -> None: ...

class WorkerTokenizeRequest(_message.Message):
    __slots__ = ("text", "add_special", "plain_spans")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ADD_SPECIAL_FIELD_NUMBER: _ClassVar[int]
    PLAIN_SPANS_FIELD_NUMBER: _ClassVar[int]
    text: str
    add_special: bool
    plain_spans: _containers.RepeatedCompositeFieldContainer[TextSpan]
    def __init__(self, text: _Optional[str] = ..., add_special: _Optional[bool] = ..., plain_spans: _Optional[_Iterable[_Union[TextSpan, _Mapping]]] = ...) -> None: ...

class WorkerTokenizeResponse(_message.Message):
    __slots__ = ("token_ids",)
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class WorkerStatisticsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerStatisticsResponse(_message.Message):
    __slots__ = ("rss_bytes", "peak_rss_bytes", "active_requests", "queued_requests", "finished_requests", "failed_requests", "prompt_tokens", "output_tokens", "bytes_read", "expert_hits", "expert_misses", "stall_seconds", "forward_seconds", "passes", "slots", "prefetched_bytes", "prefetched_used_bytes", "forced_tokens")
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    EXPERT_HITS_FIELD_NUMBER: _ClassVar[int]
    EXPERT_MISSES_FIELD_NUMBER: _ClassVar[int]
    STALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PREFETCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREFETCHED_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORCED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    rss_bytes: int
    peak_rss_bytes: int
    active_requests: int
    queued_requests: int
    finished_requests: int
    failed_requests: int
    prompt_tokens: int
    output_tokens: int
    bytes_read: int
    expert_hits: int
    expert_misses: int
    stall_seconds: float
    forward_seconds: float
    passes: int
    slots: int
    prefetched_bytes: int
    prefetched_used_bytes: int
    forced_tokens: int
    def __init__(self, rss_bytes: _Optional[int] = ..., peak_rss_bytes: _Optional[int] = ..., active_requests: _Optional[int] = ..., queued_requests: _Optional[int] = ..., finished_requests: _Optional[int] = ..., failed_requests: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., bytes_read: _Optional[int] = ..., expert_hits: _Optional[int] = ..., expert_misses: _Optional[int] = ..., stall_seconds: _Optional[float] = ..., forward_seconds: _Optional[float] = ..., passes: _Optional[int] = ..., slots: _Optional[int] = ..., prefetched_bytes: _Optional[int] = ..., prefetched_used_bytes: _Optional[int] = ..., forced_tokens: _Optional[int] = ...) -> None: ...
