"""llama.cpp's word on grammars, once per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.chat.grammar_check import GrammarCheck


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrammarCheck]:
    made = GrammarCheck(tmp_path_factory.mktemp("vocabulary"))
    yield made
    made.close()
