"""Messages as lines of JSON, as a worker and its tools print them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypura.json_lines import from_line, to_line
from hypura.v1.tools_pb2 import BaselineLine, BaselineRequest, BaselineToken, DriveLine, DriveReading, ReplayReport


@given(st.integers(0, 2**64 - 1), st.floats(allow_nan=False), st.text())
def test_a_message_comes_back_as_it_was_on_one_line(size_bytes: int, speed: float, text: str) -> None:
    for message in (
        DriveLine(reading=DriveReading(block_bytes=size_bytes, bytes_per_second=speed, direct=True)),
        DriveLine(error=text),
        BaselineLine(token=BaselineToken(seconds=speed)),
        BaselineRequest(paths=[text, ""], prompt_ids=[1, 2**32 - 1], temperature=speed),
        ReplayReport(policies={text: speed}),
    ):
        line = to_line(message)
        assert "\n" not in line
        assert from_line(type(message), line) == message
        assert from_line(type(message), line.encode() + b"\n") == message


def test_names_are_those_of_the_protos() -> None:
    assert to_line(BaselineToken(id=7, system_seconds=0.5)) == '{"id": 7, "system_seconds": 0.5}'


@pytest.mark.parametrize(
    "line",
    ["", "hello", "3", b"\xff", "[" * 100_000, '{"unknown": 1}', '{"reading": {"block_bytes": -1}}', '{"error": 3}'],
)
def test_what_is_not_such_a_message_is_refused(line: str | bytes) -> None:
    with pytest.raises(ValueError):
        from_line(DriveLine, line)
