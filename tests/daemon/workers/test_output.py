"""A worker's lines: its own keep their level and fields, others are a library's, and the last ones are kept."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from hypura_daemon.workers.output import MAX_KEPT_LINES, MAX_LINE_BYTES, LogLine, WorkerOutput, parse_line

OWN = '{"event": "a pass failed", "level": "warning", "request_id": "r", "model": "m", "timestamp": "t"}'


def test_a_workers_lines_keep_their_level_and_fields() -> None:
    assert parse_line(OWN) == LogLine("warning", "a pass failed", {"request_id": "r"})
    assert not parse_line(OWN).is_routine
    assert parse_line('{"event": "x", "level": "info"}').is_routine


@pytest.mark.parametrize(
    "line", ["Segmentation fault", '{"event": 1, "level": "info"}', '{"level": "exit", "event": "x"}', "[1]", "{"]
)
def test_any_other_line_is_a_librarys_and_may_explain_a_death(line: str) -> None:
    parsed = parse_line(line)
    assert (parsed.level, parsed.fields, parsed.is_routine) == ("debug", {"line": line}, False)


async def test_the_last_lines_are_kept_cut_to_a_length_without_what_is_routine() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"".join(b"line %d\n" % number for number in range(MAX_KEPT_LINES + 5)))
    stream.feed_data(b'{"event": "loaded", "level": "info"}\n\n' + b"x" * (2 * MAX_LINE_BYTES) + b"\nthe end")
    stream.feed_eof()
    output = WorkerOutput("m")
    with structlog.testing.capture_logs() as logged:
        await output.read(stream, 7)
    assert output.last_lines[-3:] == (f"line {MAX_KEPT_LINES + 4}", "x" * MAX_LINE_BYTES, "the end")
    assert len(output.last_lines) == MAX_KEPT_LINES
    assert all((line["model"], line["pid"]) == ("m", 7) for line in logged)
