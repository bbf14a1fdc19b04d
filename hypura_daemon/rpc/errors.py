"""Errors of gRPC calls: every error that ends a call becomes a status here, and nowhere else.

The status code is that of the error's kind (see errors.proto), the message is the error's, and the trailing metadata
`hypura-error` names the kind. Every call gets an id, `x-request-id`, in its trailing metadata.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import structlog

from hypura.error_kinds import METADATA_KEY, grpc_code, kind_named
from hypura.v1.errors_pb2 import ERROR_KIND_INTERNAL
from hypura_daemon.errors import INTERNAL_MESSAGE, ClientStalled, HypuraError
from hypura_daemon.settings import CLIENT_STALL_SECONDS
from hypura_daemon.system.descriptors import out_of_descriptors
from hypura_daemon.system.request_log import MAX_ROUTE_CHARACTERS, REQUEST_ID, Tally, begin

STATUS_SECONDS = 1.0
"""How long the status for a client that does not read may take to send."""
MAX_STATUS_BYTES = 2000
"""Status messages travel in HTTP/2 headers, which gRPC limits to 8 KiB; a byte takes up to three there."""
_log = structlog.get_logger()


def status_of(error: Exception) -> tuple[grpc.StatusCode, str, str]:
    """The code, the message and the kind's name that the client receives."""
    error = out_of_descriptors(error) or error
    name = error.kind if isinstance(error, HypuraError) else HypuraError.kind
    message = INTERNAL_MESSAGE if name == HypuraError.kind else str(error)
    message = message.encode("utf-8", "replace")[:MAX_STATUS_BYTES].decode("utf-8", "ignore")
    return grpc.StatusCode[grpc_code(kind_named(name) or ERROR_KIND_INTERNAL)], message, name


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps every rpc: its errors become statuses, and a call whose client does not read is ended.

    client_stall_seconds: how long a message may wait until its client reads it.
    """

    def __init__(self, client_stall_seconds: float = CLIENT_STALL_SECONDS) -> None:
        self._client_stall_seconds = client_stall_seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler, with its errors as statuses."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        serializers = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        method = handler_call_details.method
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(_unary(method, handler.unary_unary), **serializers)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), **serializers)
        return handler

    def _stream(self, method: str, behaviour: Callable[[Any, Any], AsyncGenerator[Any, None]]) -> Any:
        async def call(request: Any, context: Any) -> None:
            tally = _tally(method, request, context)
            try:
                async with aclosing(behaviour(request, context)) as messages:
                    async for message in messages:
                        await self._write(context, message)
            except (grpc.aio.AbortError, asyncio.CancelledError) as error:
                tally.failed(error)
                raise
            except ClientStalled as error:
                _log.warning(
                    "a client does not read its answer, and its call is ended", method=method, error=str(error)
                )
                # Its status waits behind the message that it does not read; leaving the call resets its stream.
                try:
                    async with asyncio.timeout(STATUS_SECONDS):
                        await _refuse(tally, context, error)
                except TimeoutError:
                    raise error from None
            except Exception as error:
                await _refuse(tally, context, error)
            finally:
                tally.end()

        return call

    async def _write(self, context: Any, message: Any) -> None:
        try:
            async with asyncio.timeout(self._client_stall_seconds):
                await context.write(message)
        except TimeoutError:
            raise ClientStalled(
                f"the client did not read for {self._client_stall_seconds:g} seconds, so its call was ended; try again"
            ) from None


def _unary(method: str, behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    async def call(request: Any, context: Any) -> Any:
        tally = _tally(method, request, context)
        try:
            return await behaviour(request, context)
        except (grpc.aio.AbortError, asyncio.CancelledError) as error:
            tally.failed(error)
            raise
        except Exception as error:
            await _refuse(tally, context, error)
        finally:
            tally.end()

    return call


def _tally(method: str, request: Any, context: Any) -> Tally:
    given_id = next((value for key, value in context.invocation_metadata() or () if key == REQUEST_ID), "")
    tally = begin(given_id if isinstance(given_id, str) else "", method)
    tally.model = getattr(request, "model", "")[:MAX_ROUTE_CHARACTERS]
    context.set_trailing_metadata(((REQUEST_ID, tally.id),))
    return tally


async def _refuse(tally: Tally, context: Any, error: Exception) -> NoReturn:
    tally.failed(error)
    code, message, name = status_of(error)
    if name == HypuraError.kind:
        _log.error("internal error in a call", method=tally.route, exc_info=error)
    await context.abort(code, message, ((METADATA_KEY, name), (REQUEST_ID, tally.id)))
    raise error  # abort raises; this is for the type checker
