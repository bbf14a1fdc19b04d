"""When the daemon ends, running answers fail at once with ShuttingDown, through gRPC too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from hypura.error_kinds import METADATA_KEY
from hypura.v1 import inference_pb2, inference_pb2_grpc, worker_pb2
from hypura_daemon.errors import ShuttingDown
from hypura_daemon.inference import Inference
from hypura_daemon.models.registry import Registry
from hypura_daemon.rpc.errors import ErrorInterceptor
from hypura_daemon.rpc.inference import InferenceServicer
from tests.daemon.residency.harness import running_supervisor
from tests.daemon.test_inference import Shelf


async def test_a_lease_beyond_the_grace_ends_as_the_daemon_does(tmp_path: Path) -> None:
    """A worker may be within a long pass and gets time to end; its requests fail at once."""
    async with running_supervisor(tmp_path) as harness:
        harness.modes["m"] = "mute-answer"
        with pytest.raises(ShuttingDown, match="hypurad has ended"):
            async with harness.supervisor.lease("m") as lease:
                async for _ in lease.worker.generate(worker_pb2.WorkerGenerateRequest(prompt="a b")):
                    harness.supervisor.end()


async def test_a_grpc_stream_gets_a_status_that_says_so(tmp_path: Path) -> None:
    async with running_supervisor(tmp_path) as harness:
        harness.modes["m"] = "mute-answer"
        server = grpc.aio.server(interceptors=[ErrorInterceptor(60.0)])
        inference = Inference(harness.supervisor, cast(Registry, Shelf()), context_tokens=4096)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(InferenceServicer(inference), server)
        server.add_insecure_port(f"unix:{tmp_path}/t.sock")
        await server.start()
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/t.sock") as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            call = stub.Generate(inference_pb2.GenerateRequest(model="m", prompt="a b"))
            await call.read()
            harness.supervisor.end()
            stopping = asyncio.ensure_future(server.stop(1.0))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                while await call.read():
                    pass
            await stopping
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "hypurad has ended" in (caught.value.details() or "")
    trailers: Any = caught.value.trailing_metadata()
    assert (METADATA_KEY, "ShuttingDown") in tuple(trailers)
