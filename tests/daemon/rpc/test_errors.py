"""Errors of gRPC calls: the status of each kind, and the line of the request log."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import structlog

from hypura.error_kinds import KINDS, METADATA_KEY, grpc_code, name_of
from hypura.v1.errors_pb2 import ERROR_KIND_INTERNAL, ErrorKind
from hypura_daemon.chat.prompts.needs import TemplateBroken
from hypura_daemon.errors import CLASSES, INTERNAL_MESSAGE, HypuraError
from hypura_daemon.rpc.errors import ErrorInterceptor, status_of


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != ERROR_KIND_INTERNAL], ids=name_of)
def test_each_kind_leaves_with_its_code_its_message_and_its_name(kind: ErrorKind) -> None:
    error = CLASSES[name_of(kind)]("x")
    assert status_of(error) == (grpc.StatusCode[grpc_code(kind)], "x", name_of(kind))


@pytest.mark.parametrize("error", [HypuraError("secret"), ValueError("secret")])
def test_an_internal_error_tells_no_details(error: Exception) -> None:
    assert status_of(error) == (grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE, "Internal")


async def test_the_log_names_the_class_of_an_error_and_the_metadata_its_kind() -> None:
    async def fail(request: bytes, context: object) -> bytes:
        raise TemplateBroken("no template")

    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    handlers = {"Fail": grpc.unary_unary_rpc_method_handler(fail)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hypura.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with structlog.testing.capture_logs() as lines:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/hypura.Test/Fail", None, None)(b"")
    finally:
        await server.stop(None)
    trailers: Any = caught.value.trailing_metadata()
    assert dict(trailers)[METADATA_KEY] == "InvalidRequest"
    assert [line["outcome"] for line in lines if line["event"] == "request"] == ["TemplateBroken"]
