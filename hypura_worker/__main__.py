"""A worker process: bootstrap on standard input, address on standard output, then gRPC until the daemon ends.

daemon ──stdin: length, WorkerBootstrap──► worker
       ◄──stdout: WorkerBootstrapResponse, a line of JSON
       ──stdin closes───────────────────► the worker ends at once
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import hypura_worker.llama.library as library  # first: see there
from hypura.v1 import worker_pb2
from hypura_worker import runtime
from hypura_worker.errors import WorkerError

_MAX_BOOTSTRAP_BYTES = 1 << 20


def main() -> int:
    """Run the worker; the exit code is 0 after a clean end, 1 for a failure."""
    message = runtime.read_message(_MAX_BOOTSTRAP_BYTES, "hypurad")
    bootstrap = worker_pb2.WorkerBootstrap.FromString(message)
    runtime.configure_log(bootstrap.log_level, bootstrap.model)
    # Before anything slow: a daemon that dies while the model loads must not leave this process behind.
    runtime.end_with_parent()
    try:
        library.hook()
    except WorkerError as error:
        runtime.write_line(worker_pb2.WorkerBootstrapResponse(error=str(error)))
        return 1
    with asyncio.Runner(loop_factory=runtime.event_loop_factory()) as runner:
        return runner.run(_serve(Path(bootstrap.socket_path)))


async def _serve(socket_path: Path) -> int:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    from hypura.v1 import worker_pb2_grpc
    from hypura_worker.service import Worker

    end = asyncio.Event()
    reasons: list[str] = []

    def on_end(reason: str) -> None:
        reasons.append(reason)
        end.set()

    worker = Worker(on_end)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(worker, server)  # type: ignore[no-untyped-call]
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    os.umask(0o177)
    address = f"unix:{quote(str(socket_path))}"  # an address is a URI
    server.add_insecure_port(address)
    await server.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    runtime.write_line(worker_pb2.WorkerBootstrapResponse(address=address))
    await end.wait()
    await healthy.enter_graceful_shutdown()
    await server.stop(1.0)
    worker.close()
    if reasons:
        print(f"the worker ends: {reasons[0]}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
