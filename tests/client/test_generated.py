"""The committed blocking client is what the asynchronous one generates, byte for byte."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
blocking: Callable[[str], str] = runpy.run_path(str(REPOSITORY / "protos" / "blocking_client.py"))["blocking"]


def test_the_blocking_client_is_generated_from_the_asynchronous_one() -> None:
    client = REPOSITORY / "hypura_client" / "client.py"
    generated = blocking(client.read_text("utf-8"))
    assert generated.encode() == client.with_name("sync.py").read_bytes(), "sync.py is stale: run make protos"


def test_what_no_replacement_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"asyncio\.sleep.*REPLACEMENTS"):
        blocking("async def f():\n    await asyncio.sleep(1)\n")
