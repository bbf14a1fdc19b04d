"""The probe process where it misbehaves, and where it measures nothing; test_store.py has the real measurement."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypura.json_lines import from_line
from hypura.v1.tools_pb2 import ProbeReport
from hypura_daemon.errors import WorkerDied, WorkerFailed
from hypura_daemon.hardware.devices import Measured, probe_devices


def program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def measurements(**changes: object) -> str:
    """A report with measurements; valid without changes."""
    measured = {"memory_bytes_per_second": 2e10, "worker_base_bytes": 66_000_000, "extra_buffers_verdict": "no"}
    return json.dumps({"llama_cpp_python_version": "1", "measured": {**measured, **changes}})


async def test_devices_alone_measure_nothing() -> None:
    result = await probe_devices(60, devices_only=True)
    assert result.measured is None


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import os; os.kill(os.getpid(), 11)", "(False, 'the self-test died of signal 11"),
        ("raise SystemExit('logits are not finite')", "(False, 'the self-test failed: logits are not finite')"),
        ("", "(True, 'the self-test passed')"),
    ],
)
def test_the_self_test_survives_a_crash(code: str, verdict: str) -> None:
    # In a process of its own: llama.cpp must be loaded before numpy.
    probe = (
        "import sys; from hypura_worker.tools.self_test import extra_buffers_work; "
        f"print(extra_buffers_work((sys.executable, '-c', {code!r})))"
    )
    done = subprocess.run(program(probe), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(verdict)


def test_ggmls_figures_of_a_device() -> None:
    # The processor taken for a GPU, since every machine has one.
    done = subprocess.run(
        program(
            "import hypura_worker.tools.probe as p; p._TYPE_GPU = 0; p.runtime.write_line(p.ProbeReport(gpus=p.gpus()))"
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    (device,) = (device for device in from_line(ProbeReport, done.stdout).gpus if device.name == "CPU")
    assert device.description
    assert 0 < device.free_bytes <= device.total_bytes
    assert not device.unified


async def test_a_probe_that_dies_is_explained() -> None:
    code = "import os, sys; print('CUDA driver missing', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)"
    with pytest.raises(WorkerDied, match=r"SIGSEGV.*CUDA driver missing.*reinstall"):
        await probe_devices(30, command=program(code))


async def test_a_probe_that_fails_is_explained() -> None:
    with pytest.raises(WorkerFailed, match=r"code 3.*nothing"):
        await probe_devices(30, command=program("raise SystemExit(3)"))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "hello",
        "[]",
        '{"gpus": [], "measured": null}',
        '{"measured": null}',
        '{"llama_cpp_python_version": "1", "measured": {}}',
        measurements(memory_bytes_per_second=0),
        measurements(memory_bytes_per_second="NaN"),
        measurements(memory_bytes_per_second=-1),
        measurements(worker_base_bytes=0),
        measurements(worker_base_bytes="9223372036854775808"),
        measurements(extra_buffers_verdict=""),
        measurements(type_speeds=[{"type": "Q4_0", "bytes_per_second": "Infinity"}]),
        '{"llama_cpp_python_version": "1", "gpus": [{"name": "CUDA0", "total_bytes": "18446744073709551615"}]}',
    ],
)
async def test_an_invalid_result_is_refused(answer: str) -> None:
    with pytest.raises(WorkerFailed, match="is not a valid result"):
        await probe_devices(30, command=program(f"print({answer!r}, end='')"))


async def test_a_result_may_say_no_about_extra_buffers() -> None:
    result = await probe_devices(30, command=program(f"print({measurements()!r}, end='')"))
    assert result.measured == Measured(2e10, 66_000_000, False, "no")


async def test_a_probe_that_hangs_is_killed_with_its_child(tmp_path: Path) -> None:
    note = tmp_path / "note"
    os.mkfifo(note)
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"note = os.open({str(note)!r}, os.O_WRONLY)\n"
        "sleep = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'\n"
        "subprocess.Popen([sys.executable, '-c', sleep], pass_fds=[note])\n"
        "os.write(note, b'started')\n"
        "time.sleep(600)\n"
    )
    # The reader sees the end when both processes, which hold the other end open, are gone.
    reader = asyncio.ensure_future(asyncio.to_thread(note.read_text))
    with pytest.raises(WorkerFailed, match="did not end within 2 s"):
        await probe_devices(2, command=program(code))
    assert await asyncio.wait_for(reader, 10) == "started"


async def test_a_cancelled_probe_is_gone_with_what_it_wrote(tmp_path: Path) -> None:
    note = tmp_path / "note"
    os.mkfifo(note)
    code = (
        "import os, sys, time\n"
        "open(sys.argv[-1] + '/model', 'w').close()\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{sys.argv[-1]}}')\n"
        "time.sleep(600)\n"
    )
    task = asyncio.ensure_future(probe_devices(60, command=program(code)))
    pid, folder = (await asyncio.to_thread(note.read_text)).split()
    assert await asyncio.to_thread(Path(folder, "model").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert not await asyncio.to_thread(Path(folder).exists)


def test_the_probe_ends_with_its_daemon(tmp_path: Path) -> None:
    folder = tmp_path / "probe"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "hypura_worker.tools.probe", "--end-with-stdin", "--folder", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == -9
    assert output == b""
    assert not folder.exists()
