"""Measures what llama.cpp finds on this machine: `python -m hypura_worker.tools.probe` prints a ProbeReport.

daemon ─► probe ─► devices, a worker's base memory
            ├────► speeds.py: memory bandwidth, speed by type of weights
            └────► self_test.py: whether repacked weights work, in a process of its own
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from ctypes import c_char_p, c_int32, c_size_t, c_void_p
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import llama_cpp

from hypura.v1.placement_pb2 import GpuDevice, TypeSpeed
from hypura.v1.tools_pb2 import ProbeMeasurements, ProbeReport
from hypura_worker import runtime
from hypura_worker.llama.library import ggml

_MODULE = "hypura_worker.tools.probe"
_TYPE_GPU, _TYPE_INTEGRATED_GPU = 1, 2  # ggml_backend_dev_type, ggml-backend.h


def main(arguments: Sequence[str]) -> int:
    """The exit code; the report goes to standard output, everything else to standard error."""
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that measure memory")
    parser.add_argument("--devices-only", action="store_true", help="measure nothing")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    parser.add_argument("--folder", help="where temporary files go; removed when standard input closes")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be at least 1, not {options.threads}")
    answer = runtime.claim_stdout()
    tempfile.tempdir = options.folder
    if options.end_with_stdin:
        runtime.end_with_parent(lambda: _remove(options.folder))
    # Before the devices, whose drivers take memory that a worker without a GPU does not.
    base_bytes = 0 if options.devices_only else worker_base_bytes()
    report = ProbeReport(llama_cpp_python_version=version("llama-cpp-python"), gpus=gpus())
    if not options.devices_only:
        # Imported here: what they import would count as a worker's memory.
        from hypura_worker.tools.self_test import extra_buffers_work
        from hypura_worker.tools.speeds import memory_bytes_per_second, type_speeds

        works, verdict = extra_buffers_work()
        measured = ProbeMeasurements(
            memory_bytes_per_second=memory_bytes_per_second(options.threads),
            worker_base_bytes=base_bytes,
            extra_buffers_work=works,
            extra_buffers_verdict=verdict,
            type_speeds=[
                TypeSpeed(type=name, bytes_per_second=speed) for name, speed in type_speeds(options.threads).items()
            ],
        )
        report.measured.CopyFrom(measured)
    runtime.write_line(report, answer)
    return 0


def gpus() -> list[GpuDevice]:
    """ggml's GPUs."""
    llama_cpp.llama_backend_init()
    devices = []
    for index in range(_ggml("ggml_backend_dev_count", c_size_t)()):
        device = _ggml("ggml_backend_dev_get", c_void_p, c_size_t)(index)
        kind = _ggml("ggml_backend_dev_type", c_int32, c_void_p)(device)
        if kind not in (_TYPE_GPU, _TYPE_INTEGRATED_GPU):
            continue
        name = _ggml("ggml_backend_dev_name", c_char_p, c_void_p)(device).decode(errors="replace")
        description = _ggml("ggml_backend_dev_description", c_char_p, c_void_p)(device).decode(errors="replace")
        free, total = c_size_t(), c_size_t()
        _ggml("ggml_backend_dev_memory", None, c_void_p, c_void_p, c_void_p)(
            device, ctypes.addressof(free), ctypes.addressof(total)
        )
        # Metal calls itself a GPU, not an integrated one (ggml-metal.cpp).
        metal = name.startswith(("MTL", "Metal")) and os.uname().machine == "arm64"
        devices.append(
            GpuDevice(
                name=name,
                description=description,
                total_bytes=total.value,
                free_bytes=free.value,
                unified=kind == _TYPE_INTEGRATED_GPU or metal,
            )
        )
    return devices


def worker_base_bytes() -> int:
    """Resident memory of a worker that serves and has not loaded a model."""
    import grpc
    from grpc_health.v1 import health

    # Unused here, but the modules that a worker imports are part of the memory that is measured.
    import hypura_worker.service  # noqa: F401

    async def serve(folder: str) -> int:
        server = grpc.aio.server()
        health.aio.HealthServicer()  # type: ignore[attr-defined]
        server.add_insecure_port(f"unix:{quote(folder)}/socket")
        await server.start()
        resident_bytes = runtime.resident_bytes()
        await server.stop(None)
        return resident_bytes

    with (
        tempfile.TemporaryDirectory(prefix="hypura-") as folder,
        asyncio.Runner(loop_factory=runtime.event_loop_factory()) as runner,
    ):
        return runner.run(serve(folder))


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _ggml(name: str, result: type[Any] | None, *arguments: type[Any]) -> ctypes._NamedFuncPointer:
    """A function of ggml, as llama.cpp uses it."""
    function = getattr(ggml(), name, None)
    if function is None:
        raise SystemExit(f"libggml has no {name}; reinstall llama-cpp-python")
    function.restype, function.argtypes = result, list(arguments)
    return function  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
