"""The bootstrap of a worker: the first message to it and its answer, on its standard streams; see worker.proto."""

import asyncio
import struct

from hypura.json_lines import from_line
from hypura.v1 import worker_pb2
from hypura_daemon.errors import WorkerFailed
from hypura_daemon.system.child import Child

DEATH_SECONDS = 5.0
"""A dead worker's pipes and socket close before its exit status can be had; this much later it must be there."""
_LENGTH = struct.Struct("<I")


async def exchange(child: Child, bootstrap: worker_pb2.WorkerBootstrap) -> str:
    """Send the bootstrap message; the address that the worker answers with. Raises WorkerFailed."""
    data = bootstrap.SerializeToString()
    try:
        child.write(_LENGTH.pack(len(data)) + data)
        line = await child.stdout.readline()
    except OSError:
        line = b""
    except ValueError:
        line = b"a line of more than 64 KiB"
    if not line:
        await asyncio.sleep(DEATH_SECONDS)  # Death cuts this short; a closed output alone does not.
    try:
        answer = from_line(worker_pb2.WorkerBootstrapResponse, line)
    except ValueError:
        answer = worker_pb2.WorkerBootstrapResponse()
    worker = f'worker {child.pid} of "{bootstrap.model}"'
    match answer.WhichOneof("answer"):
        case "address":
            return answer.address
        case "error":
            raise WorkerFailed(f"{worker} cannot start: {answer.error}")
    raise WorkerFailed(f"{worker} answered {line[:200]!r} instead of its address; reinstall hypura")
