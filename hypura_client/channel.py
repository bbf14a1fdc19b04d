"""The channel to the daemon: its address, its options, and how a call is sent, for asyncio and for threads.

What gRPC does differently for the two is in this file; the calls are in client.py.
"""

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar, cast
from urllib.parse import quote

import grpc
import grpc.aio
from google.protobuf.message import Message

from hypura_client.calls import Call
from hypura_client.errors import Cancelled, HypuraError, from_status, idle

R = TypeVar("R", bound=Message)

# Embeddings of many texts and plans of many tensors exceed gRPC's usual 4 MB; an error that quotes the last lines of
# a worker that died exceeds its usual 8 KB of metadata.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024 * 1024),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # The daemon is on this machine; http_proxy must not send the call elsewhere.
    ("grpc.enable_http_proxy", 0),
    # A pool of its own: a shared one remembers a refused connection and delays the next attempt.
    ("grpc.use_local_subchannel_pool", 1),
)


def target_of(where: Path | str) -> str:
    """gRPC's target for a socket path (a Path, or text that starts with /) or an address such as host:port."""
    if isinstance(where, Path) or where.startswith("/"):
        return f"unix:{quote(str(Path(where).absolute()))}"
    return where


class AsyncStream(Generic[R]):
    """The messages of a streaming call. Leaving `async with`, or cancel(), ends the call."""

    def __init__(self, call: "grpc.aio.UnaryStreamCall[Message, R]", idle_seconds: float | None, target: str) -> None:
        self._call = call
        self._idle_seconds = idle_seconds
        self._target = target
        self._cancelled = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        """The next message. Raises the errors of errors.py, also DeadlineExceeded after idle_seconds without one."""
        try:
            async with asyncio.timeout(self._idle_seconds):
                message = await self._call.read()
        except TimeoutError:
            raise idle(self._target, self._idle_seconds or 0.0) from None
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self._target) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._cancelled and not (task and task.cancelling()):
                raise Cancelled("the call was cancelled") from None
            raise
        if not isinstance(message, Message):
            raise StopAsyncIteration
        return cast(R, message)

    def cancel(self) -> None:
        """Ends the call; the daemon stops working on it within one token."""
        self._cancelled = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class AsyncChannel:
    """Sends calls for asyncio; used in one event loop. See AsyncClient for where and timeout_seconds."""

    def __init__(self, where: Path | str, timeout_seconds: float | None) -> None:
        self._target = target_of(where)
        self._timeout_seconds = timeout_seconds
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    async def unary(self, call: Call[R]) -> R:
        """The answer to a call. Raises the errors of errors.py."""
        send = self._open().unary_unary(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        try:
            answer: R = await send(call.request, timeout=call.timeout_seconds(self._timeout_seconds))
            return answer
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self._target) from None

    def stream(self, call: Call[R]) -> AsyncStream[R]:
        """The messages of a streaming call."""
        send = self._open().unary_stream(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return AsyncStream(send(call.request), call.timeout_seconds(self._timeout_seconds), self._target)

    def _open(self) -> grpc.aio.Channel:
        # Not in __init__: a channel belongs to the loop that it was made in.
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=OPTIONS)
        return self._channel


class Stream(Generic[R]):
    """The messages of a streaming call. Leaving `with`, or cancel() from any thread, ends the call."""

    def __init__(self, call: "grpc.CallIterator[R]", idle_seconds: float | None, target: str) -> None:
        self._call = call
        self._messages = iter(call)
        self._idle_seconds = idle_seconds
        self._target = target
        self._expired = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        """The next message. Raises the errors of errors.py, also DeadlineExceeded after idle_seconds without one."""
        timer = None
        if self._idle_seconds is not None:
            # gRPC's blocking streams have a deadline for the whole call only.
            timer = threading.Timer(self._idle_seconds, self._expire)
            timer.daemon = True
            timer.start()
        try:
            return next(self._messages)
        except grpc.RpcError as error:
            if self._expired:
                raise idle(self._target, self._idle_seconds or 0.0) from None
            raise _translated(error, self._target) from None
        finally:
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        self._call.cancel()  # type: ignore[no-untyped-call]

    def cancel(self) -> None:
        """Ends the call; the daemon stops working on it within one token."""
        self._call.cancel()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class Channel:
    """Sends calls and waits for their answers; may be shared by threads."""

    def __init__(self, where: Path | str, timeout_seconds: float | None) -> None:
        self._target = target_of(where)
        self._timeout_seconds = timeout_seconds
        self._channel = grpc.insecure_channel(self._target, options=OPTIONS)

    def close(self) -> None:
        """Closes the connection; calls that still run are cancelled."""
        self._channel.close()

    def unary(self, call: Call[R]) -> R:
        """The answer to a call. Raises the errors of errors.py."""
        send = self._channel.unary_unary(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        try:
            answer: R = send(call.request, timeout=call.timeout_seconds(self._timeout_seconds))
            return answer
        except grpc.RpcError as error:
            raise _translated(error, self._target) from None

    def stream(self, call: Call[R]) -> Stream[R]:
        """The messages of a streaming call."""
        send = self._channel.unary_stream(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        return Stream(send(call.request), call.timeout_seconds(self._timeout_seconds), self._target)


def _translated(error: grpc.RpcError, target: str) -> HypuraError:
    return from_status(error.code().name, error.details(), error.trailing_metadata(), target)
