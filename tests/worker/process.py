"""A worker process as the daemon starts one."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from hypura.v1 import placement_pb2 as pb
from hypura.v1 import worker_pb2, worker_pb2_grpc


def start(folder: Path, prefix: Sequence[str] = ()) -> tuple[subprocess.Popen[bytes], str]:
    """The process, and the address it listens on; prefix: a command that runs it."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "hypura_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    message = worker_pb2.WorkerBootstrap(
        socket_path=str(folder / "w.sock"), model="test", log_level="warning"
    ).SerializeToString()
    process.stdin.write(struct.pack("<I", len(message)) + message)
    process.stdin.flush()
    return process, json.loads(process.stdout.readline())["address"]


@contextmanager
def worker(
    folder: Path, prefix: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], worker_pb2_grpc.WorkerServiceStub]]:
    """A running worker and a stub for it; killed afterwards."""
    process, address = start(folder, prefix)
    channel = grpc.insecure_channel(address)
    try:
        yield process, worker_pb2_grpc.WorkerServiceStub(channel)
    finally:
        channel.close()
        process.kill()
        process.communicate()


def load(stub: worker_pb2_grpc.WorkerServiceStub, plan: pb.Plan) -> worker_pb2.LoadedModel:
    """Load the plan and return what the worker found."""
    *_, last = stub.Load(worker_pb2.WorkerLoadRequest(plan=plan), timeout=60)
    return last.loaded
