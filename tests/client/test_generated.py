"""The committed blocking client is what the asynchronous one generates, byte for byte."""

import runpy
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CLIENT = REPOSITORY / "hypura_client" / "client.py"
blocking = runpy.run_path(str(REPOSITORY / "protos" / "blocking_client.py"))["blocking"]


def test_the_blocking_client_is_generated_from_the_asynchronous_one() -> None:
    generated = blocking(CLIENT.read_text("utf-8"))
    assert generated.encode() == CLIENT.with_name("sync.py").read_bytes(), "sync.py is stale: run make protos"


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(1)",
        "def __aiter__(self): ...",
        "async def __anext__(self): ...",
        "raise StopAsyncIteration",
        "async with aclosing(events): ...",
        "await events.aclose()",
    ],
)
def test_what_no_replacement_knows_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no replacement makes this blocking.*REPLACEMENTS"):
        blocking(CLIENT.read_text("utf-8") + line)


def test_a_replacement_that_replaces_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing matches 'used in one event loop'.*REPLACEMENTS"):
        blocking(CLIENT.read_text("utf-8").replace("used in one event loop", "used by one loop"))
