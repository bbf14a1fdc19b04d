from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_KIND_UNSPECIFIED: _ClassVar[ErrorKind]
    ERROR_KIND_INVALID_REQUEST: _ClassVar[ErrorKind]
    ERROR_KIND_INVALID_MODEL_NAME: _ClassVar[ErrorKind]
    ERROR_KIND_CONTEXT_TOO_LONG: _ClassVar[ErrorKind]
    ERROR_KIND_PROMPT_TOO_LONG: _ClassVar[ErrorKind]
    ERROR_KIND_MODEL_NOT_FOUND: _ClassVar[ErrorKind]
    ERROR_KIND_MODEL_FILE_ERROR: _ClassVar[ErrorKind]
    ERROR_KIND_MODEL_FILE_CHANGED: _ClassVar[ErrorKind]
    ERROR_KIND_UNSUPPORTED_MODEL: _ClassVar[ErrorKind]
    ERROR_KIND_NO_LANGUAGE_MODEL: _ClassVar[ErrorKind]
    ERROR_KIND_BUDGET_TOO_SMALL: _ClassVar[ErrorKind]
    ERROR_KIND_SERVER_BUSY: _ClassVar[ErrorKind]
    ERROR_KIND_DOWNLOAD_FAILED: _ClassVar[ErrorKind]
    ERROR_KIND_WORKER_DIED: _ClassVar[ErrorKind]
    ERROR_KIND_WORKER_FAILED: _ClassVar[ErrorKind]
    ERROR_KIND_SHUTTING_DOWN: _ClassVar[ErrorKind]
    ERROR_KIND_CLIENT_STALLED: _ClassVar[ErrorKind]
    ERROR_KIND_INTERNAL: _ClassVar[ErrorKind]
ERROR_KIND_UNSPECIFIED: ErrorKind
ERROR_KIND_INVALID_REQUEST: ErrorKind
ERROR_KIND_INVALID_MODEL_NAME: ErrorKind
ERROR_KIND_CONTEXT_TOO_LONG: ErrorKind
ERROR_KIND_PROMPT_TOO_LONG: ErrorKind
ERROR_KIND_MODEL_NOT_FOUND: ErrorKind
ERROR_KIND_MODEL_FILE_ERROR: ErrorKind
ERROR_KIND_MODEL_FILE_CHANGED: ErrorKind
ERROR_KIND_UNSUPPORTED_MODEL: ErrorKind
ERROR_KIND_NO_LANGUAGE_MODEL: ErrorKind
ERROR_KIND_BUDGET_TOO_SMALL: ErrorKind
ERROR_KIND_SERVER_BUSY: ErrorKind
ERROR_KIND_DOWNLOAD_FAILED: ErrorKind
ERROR_KIND_WORKER_DIED: ErrorKind
ERROR_KIND_WORKER_FAILED: ErrorKind
ERROR_KIND_SHUTTING_DOWN: ErrorKind
ERROR_KIND_CLIENT_STALLED: ErrorKind
ERROR_KIND_INTERNAL: ErrorKind
STATUS_FIELD_NUMBER: _ClassVar[int]
status: _descriptor.FieldDescriptor

class ErrorStatus(_message.Message):
    __slots__ = ("grpc_code", "http_status")
    GRPC_CODE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    grpc_code: str
    http_status: int
    def __init__(self, grpc_code: _Optional[str] = ..., http_status: _Optional[int] = ...) -> None: ...
