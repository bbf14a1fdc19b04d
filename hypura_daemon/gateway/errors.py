"""Errors of HTTP requests: the status and the message. Each dialect writes them in a shape of its own."""

from typing import ClassVar

from hypura import error_kinds
from hypura_daemon.errors import INTERNAL_MESSAGE, HypuraError, InvalidModelName, ModelNotFound
from hypura_daemon.system.descriptors import out_of_descriptors


class BodyRefused(HypuraError):
    """Base of what can be wrong with a request's body before it is parsed; http_status is the answer's."""

    http_status: ClassVar[int] = 400


class BodyTooLarge(BodyRefused):
    """The request's body is larger than the setting allows."""

    http_status = 413


class UnsupportedEncoding(BodyRefused):
    """The request's body is compressed in a way that is not supported."""

    http_status = 415


class BodyTooSlow(BodyRefused):
    """The client does not send the rest of its request."""

    http_status = 408


class ClientGone(Exception):
    """The client has closed its connection, so no answer is needed."""


def http_status(error: Exception) -> int:
    """The status of the answer to a request that failed; 500 for an internal error."""
    error = out_of_descriptors(error) or error
    if isinstance(error, BodyRefused):
        return error.http_status
    kind = error_kinds.kind_named(error.kind) if isinstance(error, HypuraError) else None
    return 500 if kind is None else error_kinds.http_status(kind)


def message_of(error: Exception) -> str:
    """The message that the client receives; in Ollama's words where its clients look for them."""
    error = out_of_descriptors(error) or error
    if isinstance(error, ModelNotFound) and error.name:
        return f"model '{error.name}' not found"
    if isinstance(error, InvalidModelName):
        return "invalid model name"
    return str(error) if isinstance(error, HypuraError) else INTERNAL_MESSAGE
