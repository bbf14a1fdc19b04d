"""Each hostile format is compiled, or refused, by a process that ends in time and within its memory."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from typing import Any

import pytest

from hypura.v1 import worker_pb2
from hypura_worker.constraining import constraints
from hypura_worker.constraining.compiler import Compiled
from hypura_worker.constraining.limits import COMPILE_SECONDS
from hypura_worker.errors import InvalidRequest
from tests.worker.constraining.hostile import constraints as hostile

REFUSED = {
    "patterns that must all match": "cannot be enforced|takes too much|was not compiled",
    "twenty times four objects": "too large",
    "a bound of 401 digits": "401 digits",
    "itself": "no text fits",
    "too deep": "nests deeper|nests too deep",
    "a huge minLength": "at most 50000",
    "GBNF: recursion without an end": "no text fits",
    "GBNF: brackets": "nests too deep",
}
ANSWERED = (
    "counted counts", "digits and commas", "500 nested references", "itself within itself", "2,000 values", "deep",
    "a huge maxItems", "a huge maxLength", "GBNF: left recursion",
)  # fmt: skip


@pytest.mark.parametrize("name", [*REFUSED, *ANSWERED])
async def test_the_process_ends_in_time(name: str) -> None:
    started = time.monotonic()
    source = constraints.source_of(hostile()[name])
    try:
        compiled = await constraints.compile_in_process(source)
    except InvalidRequest as error:
        compiled = Compiled(error=str(error))
    if name in REFUSED:
        assert re.search(REFUSED[name], compiled.error)
    else:
        assert compiled.grammar, compiled.error
    assert time.monotonic() - started < COMPILE_SECONDS + 2


async def test_the_process_is_killed_at_once_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: asyncio.Future[subprocess.Popen[bytes]] = asyncio.get_running_loop().create_future()
    start = subprocess.Popen

    def starting(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*command, **options)
        begun.get_loop().call_soon_threadsafe(begun.set_result, process)
        return process

    monkeypatch.setattr(subprocess, "Popen", starting)
    compiling = asyncio.create_task(
        constraints.compile_in_process(constraints.source_of(hostile()["patterns that must all match"]))
    )
    process = await begun
    compiling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await compiling
    assert await asyncio.to_thread(process.wait, 5) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("schema", "simple"),
    [
        ('{"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"$ref": "#"}}}', True),
        ('{"type": "string", "pattern": "a"}', False),
        (r'{"type": "string", "\u0070attern": "a"}', False),
        ('{"allOf": []}', False),
        ('{"type": "integer", "multipleOf": 2}', False),
        ('{"propertyNames": {}}', False),
        ('{"enum": ["' + "a" * 20_000 + '"]}', False),
    ],
)
def test_what_is_small_and_simple_needs_no_process(schema: str, simple: bool) -> None:
    """A process takes 0.1 s, more than the demo model's whole answer."""

    def is_simple(constraint: worker_pb2.Constraint) -> bool:
        return constraints.is_simple(constraints.source_of(constraint))

    part = worker_pb2.ConstraintPart(name="p0", json_schema=schema)
    assert is_simple(worker_pb2.Constraint(json_schema=schema)) is simple
    assert is_simple(worker_pb2.Constraint(lark="start: @p0", parts=[part])) is simple
    assert not is_simple(worker_pb2.Constraint(gbnf='root ::= "a"'))
