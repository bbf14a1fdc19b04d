"""A process with llguidance that checks constraints, once per session."""

from __future__ import annotations

import pytest

from tests.worker.constraining.grammar_check import GrammarCheck


@pytest.fixture(scope="session")
def check() -> GrammarCheck:
    return GrammarCheck()
